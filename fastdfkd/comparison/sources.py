"""Resolves the sources of a comparison: recipes to run, and finished runs to use as they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from fastdfkd.comparison.run_records import (
    KEPT_FILES,
    SettingKeys,
    download_run,
    setting_labels,
)
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import Overrides, Recipe, RecipeError, load_recipe
from fastdfkd.recipe.reading import find_recipe, shipped_recipes, table_recipes
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
class ResolvedSource:
    """A recipe to run, or a finished run."""

    recipe: Recipe
    keys: SettingKeys
    result: RunResult | None = None
    """Result of a finished run; None for a recipe to run."""
    fetch: Callable[[Path], Path] = Path
    """For a finished run: function that returns the folder with its files. It first downloads them
    to its argument if the run is in MLflow."""


@dataclass(frozen=True)
class Setting:
    """One row of the comparison."""

    label: str
    recipe: Recipe
    finished: tuple[ResolvedSource, ...]
    """Finished runs to use; if empty, the recipe is run."""


def read_settings(
    sources: Sequence[Source],
    reference: Source,
    overrides: Overrides,
    say: Callable[[str], None] = lambda _: None,
) -> list[Setting]:
    """The settings of the comparison, the reference first. `sources` may repeat the reference.

    `say` is called for each recipe that is left out because it equals another source.

    Raises:
        ValueError: a source is not valid, two recipes share a name, data or teachers differ, or
            there is no setting besides the reference.
    """
    resolved = [open_source(reference, overrides, "--reference")]
    resolved += [open_source(source, overrides, "setting") for source in sources]
    _check_names([source.recipe for source in resolved if source.result is None])
    groups: dict[str, list[ResolvedSource]] = {}
    for source in resolved:
        groups.setdefault(source.keys.digest, []).append(source)
    left_out = [line for group in groups.values() for line in _left_out(group)]
    if len(groups) < 2:
        reasons = f" ({'; '.join(left_out)})" if left_out else ""
        raise ValueError(f"a comparison needs at least one RECIPE besides the reference{reasons}")
    for line in left_out:
        say(line)
    labels = setting_labels(group[0].keys for group in groups.values())
    settings = [
        Setting(labels[setting], group[0].recipe, _without_duplicates(group))
        for setting, group in groups.items()
    ]
    _check_same(settings)
    return settings


def _left_out(group: Sequence[ResolvedSource]) -> list[str]:
    """A line for each recipe that is not run because another source has the same settings."""
    to_run = list(dict.fromkeys(s.recipe.name for s in group if s.result is None))
    finished = [s.recipe.name for s in group if s.result is not None]
    if finished:
        return [f"{name} is not run: it has the settings of a finished run" for name in to_run]
    kept, *others = to_run
    return [f"{name} is left out: with KEY=VALUE it has the settings of {kept}" for name in others]


def _without_duplicates(sources: Sequence[ResolvedSource]) -> tuple[ResolvedSource, ...]:
    """The finished runs among the sources, each once."""
    by_result = {s.result.model_dump_json(): s for s in sources if s.result is not None}
    return tuple(by_result.values())


def open_source(source: Source, overrides: Overrides, option: str) -> ResolvedSource:
    """Resolve one source. Overrides do not apply to a finished run.

    Args:
        source: recipe, or text that names a recipe or a finished run.
        overrides: applied to a recipe.
        option: the command line option of the source, for the error message.

    Raises:
        RecipeError: the recipe is not valid.
        ValueError: the text names no recipe and no finished run.
        TrackingError: the MLflow store cannot be opened.
    """
    if isinstance(source, Recipe):
        return _to_run(source, overrides)
    run = _RUN_ID.fullmatch(str(source))
    try:
        if run is not None:
            return _open_mlflow_run(run[1] or run[2])
        if Path(source).is_dir():
            return _open_folder(Path(source).absolute())
        if str(source) != "-":
            _check_recipe_exists(str(source))
    except LookupError as error:
        raise ValueError(f"{option} {source}: {error.args[0]}. Expected {ACCEPTED}") from None
    return _to_run(source, overrides)


def _to_run(source: Source, overrides: Overrides) -> ResolvedSource:
    recipe = load_recipe(source, overrides)
    return ResolvedSource(recipe, SettingKeys.of(recipe))


def _check_recipe_exists(source: str) -> None:
    try:
        find_recipe(source)
    except RecipeError:
        names = [file.stem for file in (*shipped_recipes(), *table_recipes())]
        close = get_close_matches(source, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise LookupError(f"no such recipe, file, folder or run{hint}") from None


def _open_folder(folder: Path) -> ResolvedSource:
    missing = [name for name in KEPT_FILES if not (folder / name).is_file()]
    if missing:
        raise LookupError(f"the folder holds no finished run, {missing[0]} is missing")
    return _read_finished(folder, lambda _: folder)


def _open_mlflow_run(run_id: str) -> ResolvedSource:
    store = open_store(store_uri(None), TrackingSection().experiment)
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = download_run(store, run_id, Path(scratch))
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise LookupError(f"no such run in MLflow ({reason})") from None
        if folder is None:
            required = ", ".join(KEPT_FILES)
            raise LookupError(
                f"the MLflow run is not a finished distillation, which has the files {required}"
            )
        return _read_finished(folder, partial(_download, store, run_id))


def _read_finished(folder: Path, fetch: Callable[[Path], Path]) -> ResolvedSource:
    try:
        recipe = load_recipe(folder / "recipe.yaml")
        keys = SettingKeys.of_run(recipe, folder)
        return ResolvedSource(recipe, keys, RunResult.load(folder), fetch)
    except ValidationError:
        raise LookupError("the run's result.json is damaged") from None


def _download(store: Store, run_id: str, into: Path) -> Path:
    folder = download_run(store, run_id, into)
    assert folder is not None
    return folder


def _check_names(recipes: Sequence[Recipe]) -> None:
    by_name: dict[str, Recipe] = {}
    for recipe in recipes:
        if by_name.setdefault(recipe.name, recipe) != recipe:
            raise ValueError(f"two different recipes are named {recipe.name}: rename one")


def _check_same(settings: Sequence[Setting]) -> None:
    """Check that all settings have the same data set and the same teacher.

    Teachers of finished runs are compared by the digest of their weights, teachers of recipes by
    their recipe section.
    """
    images = image_spec(settings[0].recipe)
    digests = {
        source.result.teacher_digest
        for setting in settings
        for source in setting.finished
        if source.result is not None
    }
    to_run = [setting.recipe for setting in settings if not setting.finished]
    for setting in settings:
        differs = not setting.finished and setting.recipe.teacher != to_run[0].teacher
        if image_spec(setting.recipe) != images or differs or len(digests - {""}) > 1:
            raise ValueError(
                f"{setting.label} has other data or another teacher than the reference "
                f"{settings[0].label}: a comparison needs one data set and one teacher. Name a "
                "reference that has those of the others (--reference)"
            )
