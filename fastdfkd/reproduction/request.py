"""What is run of a table: its cells, their recipes and seeds. It is kept in the table's folder.

request.json    table, rows, pairs, seeds, and the changes to all recipes
recipes/        the recipe of each cell, as it was when the table was begun
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.recipe.source_texts import given
from fastdfkd.reproduction.published import Cell, Table, published
from fastdfkd.runs.folder import claim_folder, read_json, write_json, write_text
from fastdfkd.runs.folder_lock import lock_folder
from fastdfkd.runs.source_texts import as_it_began, write_sources
from fastdfkd.text.safe_text import file_name

RESULT_FILES = ("table.md", "table.csv", "results.json")
FOLDER_FILES = ("request.json", "sources.json", "recipes", "sweeps", *RESULT_FILES)
"""All that a table writes into its folder."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    table: str
    rows: tuple[str, ...]
    """Empty: all."""
    pairs: tuple[str, ...]
    """Empty: all."""
    seeds: PositiveInt
    overrides: tuple[str, ...] = ()
    """Changes to all recipes, `KEY=VALUE`."""


@dataclass(frozen=True)
class TableRun:
    """A table to run, or to continue."""

    request: Request
    recipes: dict[str, Recipe]
    """By the name of the cell's recipe."""
    folder: Path

    @cached_property
    def table(self) -> Table:
        """The table with its published figures."""
        return published().table(self.request.table)

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells, in the order of the table."""
        return list(self.table.cells(self.request.rows, self.request.pairs))

    @cached_property
    def groups(self) -> dict[Path, dict[str, Recipe]]:
        """The recipes that share images and teacher, by the folder of their sweep."""
        found: dict[str, dict[str, Recipe]] = {}
        for name, recipe in self.recipes.items():
            shared = (recipe.data, recipe.input, recipe.teacher)
            key = "\n".join(section.model_dump_json() for section in shared)
            found.setdefault(key, {})[name] = recipe
        folders = {}
        for number, recipes in enumerate(found.values()):
            teacher = next(iter(recipes.values())).teacher.model
            folders[self.folder / "sweeps" / f"{number}-{file_name(teacher)}"] = recipes
        return folders


@contextmanager
def new_table(
    name: str,
    *,
    rows: Sequence[str] = (),
    pairs: Sequence[str] = (),
    seeds: int = 1,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
) -> Iterator[TableRun]:
    """Check what is asked for, and lock the table's folder for the `with` block.

    Args:
        name: of the table.
        rows: of the table; none: all.
        pairs: `teacher/student`; none: all.
        seeds: runs of each cell.
        overrides: changes to all recipes, `KEY=VALUE`.
        out: folder to write to; None: `runs/reproduce-<table>-<time>/`.

    Raises:
        RecipeError: an override does not fit one of the recipes.
        FolderInUseError: another driver uses `out`.
        ValueError: there is no such table, row or pair, or `out` is not valid.
    """
    if seeds < 1:
        raise ValueError(f"--seeds: expected a number at least 1, got {seeds}")
    cells = list(published().table(name).cells(rows, pairs))
    recipes = {cell.recipe: load_recipe(cell.recipe, overrides) for cell in cells}
    request = Request(
        table=name,
        rows=tuple(rows),
        pairs=tuple(pairs),
        seeds=seeds,
        overrides=tuple(overrides),
    )
    texts = {k: v for recipe in recipes.values() for k, v in recipe.source_texts().items()}
    with (
        given(texts),
        claim_folder(f"reproduce-{name}", out, files=FOLDER_FILES) as folder,
    ):
        for key, recipe in recipes.items():
            (folder / "recipes").mkdir(exist_ok=True)
            write_text(folder / "recipes" / f"{key}.yaml", recipe.to_yaml())
        write_sources(texts, folder)
        write_json(folder / "request.json", asdict(request))
        yield TableRun(request, recipes, folder)


@contextmanager
def interrupted_table(directory: str | Path) -> Iterator[TableRun]:
    """Read a table that is not complete, and lock its folder for the `with` block.

    Raises:
        FolderInUseError: another process runs the table.
        ValueError: the folder holds no table, or a damaged one.
    """
    folder = Path(directory).expanduser().absolute()
    request = _request(folder)  # raises, before the lock file is made, if there is none
    with lock_folder(folder), as_it_began(folder):
        run = TableRun(request, {}, folder)
        for cell in run.cells:
            run.recipes[cell.recipe] = load_recipe(folder / "recipes" / f"{cell.recipe}.yaml")
        yield run


def _request(folder: Path) -> Request:
    """Read `request.json`.

    Raises:
        ValueError: it is missing, or damaged.
    """
    path = folder / "request.json"
    try:
        return TypeAdapter(Request).validate_python(read_json(path))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no table: {path.name} is missing") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"{path}: damaged, or of another version "
            f"({'.'.join(map(str, first['loc']))}: {first['msg']:.200})"
        ) from None
