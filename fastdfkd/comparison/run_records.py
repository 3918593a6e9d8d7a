"""Loads finished runs for a comparison, from a folder or from MLflow."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.records import RunRecord
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.recipe.naming import by_what_varies
from fastdfkd.recipe.source_texts import given
from fastdfkd.runs import environment
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import SOURCES_FILE, sources_in
from fastdfkd.tracking.run import environment_tags
from fastdfkd.tracking.store import Store

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

KEPT_FILES = ("result.json", "recipe.yaml", "metrics.csv")
"""Files that a comparison needs from a finished run."""
_MORE_FILES = (SOURCES_FILE, "samples.png")
"""Files that it takes if the run has them."""
_MAX_RUNS = 1000
log = logging.getLogger(__name__)


def find_reusable_run(
    store: Store, recipe: Recipe, teacher: Teacher, label: str, into: Path
) -> RunRecord | None:
    """The newest finished run with the same recipe, teacher, commit, hardware and versions.

    None if there is none. If the checkout has local changes, no run is reused: the commit does not
    identify the code then. The files of the run are copied to `into`.
    """
    tags = environment_tags()
    if environment.commit().endswith("-dirty"):
        return None
    required = {name: tags[name] for name in ("commit", "hardware")}
    required |= {name: value for name, value in tags.items() if name.startswith("version.")}
    for run in _search_finished(store, f"tags.recipe_digest = '{recipe.digest()}'"):
        if all(run.data.tags.get(name) == value for name, value in required.items()):
            folder = download_run(store, run.info.run_id, into)
            record = folder and load_run_record(label, recipe, folder)
            if record and record.result.teacher_digest == teacher.digest:
                return record
    return None


def load_experiment(store: Store, into: Path) -> list[RunRecord]:
    """The newest finished run of each setting and seed in an experiment.

    Two runs have the same setting if their recipes differ in the seed only.
    """
    newest: dict[tuple[str, int], RunRecord] = {}
    found: dict[str, SettingKeys] = {}
    for run in _search_finished(store, "attributes.status = 'FINISHED'"):
        folder = download_run(store, run.info.run_id, into / run.info.run_id)
        if folder is None:
            continue
        recipe = load_recipe(folder / "recipe.yaml")
        setting = SettingKeys.of_run(recipe, folder)
        found.setdefault(setting.digest, setting)
        key = (setting.digest, recipe.seed)
        newest.setdefault(key, load_run_record(setting.digest, recipe, folder))
    labels = setting_labels(found.values())
    return [replace(run, label=labels[run.label]) for run in newest.values()]


@dataclass(frozen=True)
class SettingKeys:
    """What identifies a setting: everything that can change a result, except for the seed."""

    name: str
    """Name of the recipe."""
    digest: str
    """Digest of the recipe without its seed."""
    values: Mapping[str, Any]
    """The recipe's values by dotted key, and the digests of its Python files by path."""

    @classmethod
    def of(cls, recipe: Recipe) -> SettingKeys:
        """The setting of a recipe to run.

        Raises:
            RecipeError: a Python file that it names cannot be read.
        """
        ignored = ("name", "description", "seed", "tracking")
        values = {k: v for k, v in recipe.flat().items() if k.partition(".")[0] not in ignored}
        for path, text in recipe.source_texts().items():
            key = f"source_texts.{path.replace('.', '_')}"
            values[key] = hashlib.sha256(text.encode()).hexdigest()[:8]
        return cls(recipe.name, load_recipe(recipe, {"seed": 0}).digest(), values)

    @classmethod
    def of_run(cls, recipe: Recipe, folder: Path) -> SettingKeys:
        """The setting of a finished run, with the texts of Python files that its folder holds.

        Raises:
            ValueError: the file with the texts is damaged.
        """
        with given(sources_in(folder)):
            return cls.of(recipe)


def setting_labels(settings: Iterable[SettingKeys]) -> dict[str, str]:
    """Labels of different settings, by their digest.

    A label is the name of the recipe. Settings with the same name also get the values that differ
    between them.
    """
    labels: dict[str, str] = {}
    settings = list(settings)
    for name in dict.fromkeys(setting.name for setting in settings):
        same_name = [setting for setting in settings if setting.name == name]
        differences = by_what_varies([setting.values for setting in same_name])
        for setting, difference in zip(same_name, differences, strict=True):
            labels[setting.digest] = f"{name} {difference}".strip()
    return labels


def download_run(store: Store, run_id: str, into: Path) -> Path | None:
    """Copy the files of an MLflow run to a folder.

    Returns:
        The folder. None if a required file is missing, as in parent runs, or damaged. A damaged
        file is logged as a warning, and the other runs can still be compared.
    """
    artifacts = {file.path for file in store.client.list_artifacts(run_id)}
    if not artifacts.issuperset(KEPT_FILES):
        return None
    into.mkdir(parents=True, exist_ok=True)
    try:
        for name in (*KEPT_FILES, *_MORE_FILES):
            if name in artifacts:
                store.client.download_artifacts(run_id, name, str(into))
        image_spec(load_recipe(into / "recipe.yaml"))
        RunResult.load(into)
        read_rows(into / "metrics.csv")
    except Exception as error:  # MLflow and the system raise many types if a file is lost
        log.warning("MLflow run %s cannot be compared and is left out: %s", run_id, error)
        return None
    return into


def load_run_record(label: str, recipe: Recipe, folder: Path) -> RunRecord:
    """The finished run in a folder."""
    result = RunResult.load(folder)
    images = image_spec(recipe)
    return RunRecord(label=label, result=result, images=images, folder=folder, reused=True)


def _search_finished(store: Store, condition: str) -> Iterator[Any]:
    """Finished MLflow runs that meet the condition, newest first."""
    runs = store.client.search_runs(
        [store.experiment_id],
        condition,
        max_results=_MAX_RUNS,
        order_by=["attributes.start_time DESC"],
    )
    return (run for run in runs if run.info.status == "FINISHED")
