"""What the page of a run shows beyond its result: `details.json` of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from fastdfkd.runs.folder import read_json, write_text

DETAILS_FILE = "details.json"

_MOST_CLASSES = 10_000
"""Of confusions that are read; `core.confusion` makes them of fewer."""

Counts = tuple[NonNegativeInt, NonNegativeInt, Annotated[int, Field(gt=0)]]
"""Row, column and number of a cell of a confusion matrix."""


class Confusion(BaseModel):
    """Which classes the student assigns to the last evaluation's images, or their pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    against: Literal["teacher", "labels"]
    """What gives the rows: the class that the teacher assigns, or the label. The student gives the
    columns."""
    judged_on: str
    """What the images are."""
    cells: list[Counts]
    """The cells that are not zero."""

    @property
    def total(self) -> int:
        """Number of images, or pixels."""
        return sum(count for _, _, count in self.cells)

    @property
    def same(self) -> int:
        """How many have one class in row and column."""
        return sum(count for row, column, count in self.cells if row == column)


class RunDetails(BaseModel):
    """Details of one finished run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    class_names: list[str]
    """Of all classes, in the order of their numbers; numbers where there are no names."""
    shape: tuple[int, int, int]
    """(C, H, W) of the images."""
    sample_classes: dict[Literal["teacher", "student"], list[NonNegativeInt]] = {}
    """The class that each network assigns to each image of `samples.png`, in their order. Empty for
    maps, which the picture itself shows."""
    confusions: list[Confusion] = []
    made: list[NonNegativeInt] = []
    """For each class, how many of the run's synthetic images (for maps: of their pixels) the
    teacher assigned to it while they were made. Empty for a run of an earlier release."""

    def save(self, folder: Path) -> None:
        """Write `details.json` to a run's folder."""
        write_text(folder / DETAILS_FILE, self.model_dump_json() + "\n")

    @classmethod
    def load(cls, folder: Path) -> RunDetails | None:
        """The details of a run; None if there are none, as for a run of an earlier release.

        Raises:
            ValueError: the file is damaged.
        """
        path = folder / DETAILS_FILE
        if not path.is_file():
            return None
        try:
            details = cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: damaged ({where:.60}: {first['msg']})") from None
        if details.confusions and len(details.class_names) > _MOST_CLASSES:
            raise ValueError(
                f"{path}: damaged (confusions of {len(details.class_names):,} classes)"
            )
        if max(details._highest(), len(details.made) - 1) >= len(details.class_names):
            raise ValueError(f"{path}: damaged (it names a class that does not exist)")
        return details

    def _highest(self) -> int:
        """The highest number of a class that is named; -1: none."""
        shown = (number for classes in self.sample_classes.values() for number in classes)
        cells = (max(row, column) for each in self.confusions for row, column, _ in each.cells)
        return max((*shown, *cells), default=-1)
