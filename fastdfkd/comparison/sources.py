"""What may be compared: recipes, which are run, and finished runs, which are taken as they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from fastdfkd.comparison.run_records import KEPT_FILES, fetch, labels, setting_of
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import Overrides, Recipe, RecipeError, load_recipe
from fastdfkd.recipe.reading import find_recipe, shipped_recipes
from fastdfkd.recipe.sections import TrackingSection
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import Store, open_store, store_uri

Source = str | Path | Recipe
ACCEPTED = (
    "a recipe's name (`fastdfkd recipes` lists them), a recipe file, the folder of a finished run, "
    "or an MLflow run (its id, or runs:/ID)"
)
_RUN_ID = re.compile(r"(?:runs:/)?([0-9a-f]{32})|runs:/([^/]+)/?")


@dataclass(frozen=True)
class Given:
    """A recipe to run, or a finished run of one."""

    recipe: Recipe
    result: RunResult | None = None
    """Of a finished run."""
    bring: Callable[[Path], Path] = Path
    """Brings a finished run's files to the folder, or gives the folder where they are."""


@dataclass(frozen=True)
class Setting:
    """What a row of the comparison stands for."""

    label: str
    recipe: Recipe
    finished: tuple[Given, ...]
    """Runs to take as they are; none: the recipe is run."""


def read_settings(
    sources: Sequence[Source], reference: Source, overrides: Overrides
) -> list[Setting]:
    """Everything that is to be compared, the reference first; it may be among the others too.

    Raises:
        ValueError: a source is nothing of what is accepted, two recipes share a name, data or
            teachers differ, or there is nothing to compare with.
    """
    given = [open_source(reference, overrides, "--reference")]
    given += [open_source(source, overrides, "setting") for source in sources]
    _check_names([one.recipe for one in given if one.result is None])
    groups: dict[str, list[Given]] = {}
    for one in given:
        groups.setdefault(setting_of(one.recipe), []).append(one)
    if len(groups) < 2:
        raise ValueError("a comparison needs at least one RECIPE besides the reference")
    called = labels({setting: group[0].recipe for setting, group in groups.items()})
    settings = [
        Setting(
            called[setting],
            group[0].recipe,
            tuple({r.model_dump_json(): one for one in group if (r := one.result)}.values()),
        )
        for setting, group in groups.items()
    ]
    _check_same(settings)
    return settings


def open_source(source: Source, overrides: Overrides, option: str) -> Given:
    """Find out what is meant. A finished run is not changed by overrides.

    Args:
        source: what the user named.
        overrides: applied to a recipe.
        option: where it was named, for the message.

    Raises:
        RecipeError: the recipe cannot be used.
        ValueError: it is nothing of what is accepted.
        TrackingError: the MLflow store cannot be opened.
    """
    if isinstance(source, Recipe):
        return Given(load_recipe(source, overrides))
    run = _RUN_ID.fullmatch(str(source))
    try:
        if run is not None:
            return _tracked(run[1] or run[2])
        if Path(source).is_dir():
            return _folder(Path(source).absolute())
        if str(source) != "-":
            _check_recipe(str(source))
    except LookupError as error:
        raise ValueError(f"{option} {source}: {error.args[0]}. Expected {ACCEPTED}") from None
    return Given(load_recipe(source, overrides))


def _check_recipe(source: str) -> None:
    try:
        find_recipe(source)
    except RecipeError:
        close = get_close_matches(source, [file.stem for file in shipped_recipes()], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise LookupError(f"no such recipe, file, folder or run{hint}") from None


def _folder(folder: Path) -> Given:
    missing = [name for name in KEPT_FILES if not (folder / name).is_file()]
    if missing:
        raise LookupError(f"the folder holds no finished run, {missing[0]} is missing")
    return _finished(folder, lambda _: folder)


def _tracked(run_id: str) -> Given:
    store = open_store(store_uri(None), TrackingSection().experiment)
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = fetch(store, run_id, Path(scratch))
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise LookupError(f"no such run in MLflow ({reason})") from None
        if folder is None:
            kept = ", ".join(KEPT_FILES)
            raise LookupError(f"the MLflow run is no finished distillation: it lacks {kept}")
        return _finished(folder, partial(_brought, store, run_id))


def _finished(folder: Path, bring: Callable[[Path], Path]) -> Given:
    try:
        return Given(load_recipe(folder / "recipe.yaml"), RunResult.load(folder), bring)
    except ValidationError:
        raise LookupError("the run's result.json is damaged") from None


def _brought(store: Store, run_id: str, into: Path) -> Path:
    folder = fetch(store, run_id, into)
    assert folder is not None
    return folder


def _check_names(recipes: Sequence[Recipe]) -> None:
    named: dict[str, Recipe] = {}
    for recipe in recipes:
        if named.setdefault(recipe.name, recipe) != recipe:
            raise ValueError(f"two different recipes are named {recipe.name}: rename one")


def _check_same(settings: Sequence[Setting]) -> None:
    """One data set and one teacher: known by its weights of finished runs, else by its recipe."""
    images = image_spec(settings[0].recipe)
    digests = {
        one.result.teacher_digest
        for setting in settings
        for one in setting.finished
        if one.result is not None
    }
    to_run = [setting.recipe for setting in settings if not setting.finished]
    for setting in settings:
        other = not setting.finished and setting.recipe.teacher != to_run[0].teacher
        if image_spec(setting.recipe) != images or other or len(digests - {""}) > 1:
            raise ValueError(
                f"{setting.label} has other data or another teacher than the reference "
                f"{settings[0].label}: a comparison needs one of each"
            )
