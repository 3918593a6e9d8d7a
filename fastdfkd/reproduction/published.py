"""The tables of papers: rows, pairs of networks, and the published figures of each cell.

`published.yaml` beside this file has them, and nothing else does: the recipes in `recipes/paper/`,
`docs/reproducing.md` and `fastdfkd reproduce` are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Self

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, model_validator

from fastdfkd.recipe import unknown
from fastdfkd.runs.figures import FIGURES
from fastdfkd.text.shown import shown

FILE = Path(__file__).with_name("published.yaml")
_WHOLE = ConfigDict(extra="forbid", frozen=True)


class Row(BaseModel):
    """A method, or a variant of one, in every column of a table."""

    model_config = _WHOLE

    label: str
    """What the paper's table calls it."""
    accuracy: tuple[float | None, ...] = ()
    """The table's figure in percent, by pair; empty: not published."""
    hours: tuple[float | None, ...] = ()
    """Hours of synthesis, by pair; empty: not published."""
    speed_up: float | None = None
    """As published: see `Table.reference`."""
    source: str = ""
    """Where the figures are from, if not from `Tables.source`."""
    notes: dict[str, str] = {}
    """What a reader must know about the figure of a pair."""


@dataclass(frozen=True)
class Cell:
    """One row with one pair."""

    row: str
    pair: str
    recipe: str
    """Name of the recipe that reproduces it."""
    accuracy: float | None
    """The table's figure as published, in percent."""
    hours: float | None
    """Hours of synthesis as published."""
    note: str
    """What a reader must know about the published figure; empty: nothing."""


class Table(BaseModel):
    """One table of a paper."""

    model_config = _WHOLE

    title: str
    data: str
    """`data.name` of its recipes."""
    recipe: str
    """Names of its recipes, with `{teacher}`, `{student}` and `{row}`."""
    figure: Literal["accuracy", "mean_iou"] = "accuracy"
    """Column of `metrics.csv` that the table shows, wherever it says accuracy."""
    source: str = ""
    """What stands before a network's name in `model` of the recipes, such as `torchvision:`."""
    pairs: tuple[str, ...]
    """`teacher/student`, names of the table of networks; the columns."""
    reference: str | None = None
    """The row whose hours count as 1x. A row's speed-up is the mean over the pairs of the
    reference's hours divided by its own."""
    teacher: tuple[float, ...] = ()
    """Published accuracy of the teachers in percent, by pair."""
    trained: tuple[float, ...] = ()
    """Published accuracy of the students trained on real images in percent, by pair."""
    remarks: tuple[str, ...] = ()
    rows: dict[str, Row]

    @property
    def figure_name(self) -> str:
        """What texts call the figure: `accuracy` or `mIoU`."""
        return FIGURES[self.figure].name

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Every list has a figure for each pair, and names refer to rows and pairs.

        Raises:
            ValueError: one does not.
        """
        lists: dict[str, Sequence[float | None]] = {
            "teacher": self.teacher,
            "trained": self.trained,
        }
        for name, row in self.rows.items():
            lists |= {f"{name}: accuracy": row.accuracy, f"{name}: hours": row.hours}
            if not set(row.notes) <= set(self.pairs):
                raise ValueError(f"{name}: notes: expected pairs of the table, got {row.notes}")
        for where, figures in lists.items():
            if len(figures) not in (0, len(self.pairs)):
                raise ValueError(
                    f"{where}: expected {len(self.pairs)} figures, one for each pair, got "
                    f"{len(figures)}"
                )
        if self.reference is not None and self.reference not in self.rows:
            raise ValueError(f"reference: expected a row, got {self.reference}")
        return self

    def cells(self, rows: Sequence[str] = (), pairs: Sequence[str] = ()) -> Iterator[Cell]:
        """The cells of these rows and pairs, in the order of the table; of all if none are given.

        Raises:
            ValueError: the table has no such row or pair.
        """
        for option, wanted, known in (("--rows", rows, self.rows), ("--pairs", pairs, self.pairs)):
            for name in wanted:
                if name not in known:
                    raise ValueError(
                        unknown(f"{option}: {shown(name)} in {self.title}", name, list(known))
                    )
        for name in self.rows:
            for pair in self.pairs:
                if name in (rows or self.rows) and pair in (pairs or self.pairs):
                    yield self.cell(name, pair)

    def cell(self, row: str, pair: str) -> Cell:
        """The cell of a row and a pair, which the table has."""
        figures, column = self.rows[row], self.pairs.index(pair)
        teacher, student = pair.split("/")
        return Cell(
            row=row,
            pair=pair,
            recipe=self.recipe.format(teacher=teacher, student=student, row=row),
            accuracy=figures.accuracy[column] if figures.accuracy else None,
            hours=figures.hours[column] if figures.hours else None,
            note=figures.notes.get(pair, ""),
        )


class Tables(BaseModel):
    """All tables."""

    model_config = _WHOLE

    source: str
    """Where the figures are from."""
    networks: dict[str, str]
    """What papers call the networks, by their names here."""
    tables: dict[str, Table]

    def table(self, name: str) -> Table:
        """A table by its name.

        Raises:
            ValueError: there is none. The message lists the names.
        """
        if name not in self.tables:
            raise ValueError(unknown(f"table {shown(name)}", name, list(self.tables)))
        return self.tables[name]

    def pair(self, name: str) -> str:
        """What papers call a pair: `WRN-40-2 to WRN-16-1`."""
        return " to ".join(self.networks[part] for part in name.split("/"))


@cache
def published() -> Tables:
    """The tables of `published.yaml`."""
    return Tables.model_validate(OmegaConf.to_container(OmegaConf.load(FILE)))
