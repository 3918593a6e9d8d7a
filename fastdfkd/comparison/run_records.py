"""Finished runs as a comparison takes them: just made, or found in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.records import RunRecord
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.recipe.naming import by_what_varies
from fastdfkd.runs import environment
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.run import environment_tags
from fastdfkd.tracking.store import Store

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

KEPT_FILES = ("result.json", "recipe.yaml", "metrics.csv")
"""Files that a comparison needs of a finished run; `samples.png` it takes where there is one."""
_MOST_RUNS = 1000
log = logging.getLogger(__name__)


def find_same(
    store: Store, recipe: Recipe, teacher: Teacher, label: str, into: Path
) -> RunRecord | None:
    """The newest finished run of the same recipe, teacher, commit, hardware and versions.

    None if there is none. Runs of a checkout with local changes are never re-used: their commit
    does not name the code.
    """
    tags = environment_tags()
    if environment.commit().endswith("-dirty"):
        return None
    wanted = {name: tags[name] for name in ("commit", "hardware")}
    wanted |= {name: value for name, value in tags.items() if name.startswith("version.")}
    for run in _finished(store, f"tags.recipe_digest = '{recipe.digest()}'"):
        if all(run.data.tags.get(name) == value for name, value in wanted.items()):
            folder = fetch(store, run.info.run_id, into)
            found = folder and run_record(label, recipe, folder)
            if found and found.result.teacher_digest == teacher.digest:
                return found
    return None


def all_of(store: Store, into: Path) -> list[RunRecord]:
    """Every finished run of an experiment, the newest of each setting and seed.

    Settings are told apart by the recipe without its seed.
    """
    newest: dict[tuple[str, int], RunRecord] = {}
    recipes: dict[str, Recipe] = {}
    for run in _finished(store, "attributes.status = 'FINISHED'"):
        folder = fetch(store, run.info.run_id, into / run.info.run_id)
        if folder is None:
            continue
        recipe = load_recipe(folder / "recipe.yaml")
        setting = setting_of(recipe)
        recipes.setdefault(setting, recipe)
        newest.setdefault((setting, recipe.seed), run_record(setting, recipe, folder))
    called = labels(recipes)
    return [replace(run, label=called[run.label]) for run in newest.values()]


def setting_of(recipe: Recipe) -> str:
    """Digest of the recipe without its seed: runs with the same one are of one setting."""
    return load_recipe(recipe, {"seed": 0}).digest()


def labels(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """What settings are called: by their recipes' names, and by what varies among namesakes.

    Args:
        recipes: of each setting, by its digest.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(recipe.name for recipe in recipes.values()):
        alike = {setting: recipe for setting, recipe in recipes.items() if recipe.name == name}
        called = by_what_varies([_numbers(recipe) for recipe in alike.values()])
        for setting, varying in zip(alike, called, strict=True):
            found[setting] = f"{name} {varying}".strip()
    return found


def _numbers(recipe: Recipe) -> dict[str, Any]:
    """What can change a result, under its dotted keys."""
    idle = ("name", "description", "seed", "tracking")
    return {k: v for k, v in recipe.flat().items() if k.partition(".")[0] not in idle}


def fetch(store: Store, run_id: str, into: Path) -> Path | None:
    """Copy a run's kept files to a folder; None if it kept too few, as parent runs do.

    So it is where one of them is damaged, which is said: the other runs can be compared without it.
    """
    kept = {file.path for file in store.client.list_artifacts(run_id)}
    if not kept.issuperset(KEPT_FILES):
        return None
    into.mkdir(parents=True, exist_ok=True)
    try:
        for name in (*KEPT_FILES, "samples.png"):
            if name in kept:
                store.client.download_artifacts(run_id, name, str(into))
        image_spec(load_recipe(into / "recipe.yaml"))
        RunResult.load(into)
        read_rows(into / "metrics.csv")
    except Exception as error:  # MLflow's own and the system's, where the store lost a file
        log.warning("MLflow run %s cannot be compared and is left out: %s", run_id, error)
        return None
    return into


def run_record(label: str, recipe: Recipe, folder: Path) -> RunRecord:
    """The finished run in a folder."""
    result = RunResult.load(folder)
    images = image_spec(recipe)
    return RunRecord(label=label, result=result, images=images, folder=folder, reused=True)


def _finished(store: Store, condition: str) -> Iterator[Any]:
    """Finished runs, newest first."""
    runs = store.client.search_runs(
        [store.experiment_id],
        condition,
        max_results=_MOST_RUNS,
        order_by=["attributes.start_time DESC"],
    )
    return (run for run in runs if run.info.status == "FINISHED")
