"""START HERE for speed-ups: settings against a reference, over seeds, with everything shown.

run what is missing (or take an experiment's runs) -> table -> pictures -> report -> MLflow
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.comparison.records import Comparison, RunRecord
from fastdfkd.comparison.report import COMPARISON_FILES, check_goal, goal_of, write_report
from fastdfkd.comparison.run_records import find_same, run_record
from fastdfkd.comparison.sources import Setting, Source, read_settings
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.sections import TrackingSection
from fastdfkd.report.table import share
from fastdfkd.runs.folder import claimed
from fastdfkd.text.safe_text import file_name
from fastdfkd.tracking import ParentRun
from fastdfkd.tracking.store import open_store

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

Say = Callable[[str], None]


def compare(
    sources: Sequence[Source],
    reference: Source,
    overrides: Overrides = (),
    *,
    seeds: int = 3,
    goal: float | None = None,
    out: str | Path | None = None,
    address: str | None = None,
    say: Say = lambda _: None,
) -> tuple[Comparison, Path]:
    """Run what is missing of every recipe with every seed, compare, and write the report.

    Args:
        sources: recipes, or finished runs (their folders, or MLflow's ids), to compare with the
            reference.
        reference: the 1x, a recipe or a finished run; a recipe is run for real, on as many images
            as it says.
        overrides: applied to all recipes; a finished run stays what it was.
        seeds: runs of each recipe, with its seed and the ones after it.
        goal: the named accuracy; unset: the lowest mean accuracy of all, in whole percents.
        out: folder; unset: `runs/compare-<reference>-<time>/`.
        address: Ray cluster to join.
        say: told a line a run.

    Raises:
        ValueError: recipes with the same name, of different data or teachers, or nothing of what
            is accepted.
    """
    check_goal(goal)
    if seeds < 1:
        raise ValueError(f"--seeds: expected a number at least 1, got {seeds}")
    settings = read_settings(sources, reference, overrides)
    first = settings[0]
    to_run = [setting.recipe for setting in settings if not setting.finished]
    tracked = to_run[0].tracking if to_run else TrackingSection()
    name = f"compare {first.label}"
    with (
        claimed(f"compare-{file_name(first.label)}", out, files=COMPARISON_FILES) as folder,
        _cluster(address, to_run),
        ParentRun(name, experiment=tracked.experiment, uri=tracked.uri) as parent,
    ):
        runs = {setting.label: _taken(setting, folder, say) for setting in settings}
        if to_run:
            _run_all(settings, seeds, runs, folder, parent, say)
        comparison = Comparison(
            reference=first.label,
            runs=runs,
            goal=goal_of(goal, runs),
            title=f"Against {first.label}",
        )
        write_report(comparison, folder, parent)
    return comparison, folder


@contextmanager
def _cluster(address: str | None, to_run: Sequence[Recipe]) -> Iterator[None]:
    """Ray, where anything is to be run."""
    if not to_run:
        yield
        return
    from fastdfkd.api.execution import warm_up
    from fastdfkd.platform import cluster

    with cluster.connect(address, partial(warm_up, to_run[0])):
        yield


def _taken(setting: Setting, folder: Path, say: Say) -> list[RunRecord]:
    """The finished runs of a setting, in the order of their seeds."""
    found = []
    for number, given in enumerate(setting.finished):
        into = folder / "runs" / f"{file_name(setting.label)}-taken{number}"
        run = run_record(setting.label, given.recipe, given.bring(into))
        say(_line(run))
        found.append(run)
    return sorted(found, key=lambda run: run.result.seed)


def _run_all(
    settings: Sequence[Setting],
    seeds: int,
    runs: dict[str, list[RunRecord]],
    folder: Path,
    parent: ParentRun,
    say: Say,
) -> None:
    """Run the settings that have no finished runs, with one teacher, and add them to `runs`."""
    from fastdfkd.api.execution import obtain_teacher

    to_run = {setting.label: setting.recipe for setting in settings if not setting.finished}
    teacher = obtain_teacher(next(iter(to_run.values())), progress=True)
    for run in (run for taken in runs.values() for run in taken):
        if run.result.teacher_digest not in ("", teacher.digest):
            raise ValueError(
                f"{run.label} ({run.folder}) was made with the teacher "
                f"{run.result.teacher_digest[:12]}, the recipes' is {teacher.digest[:12]}: a "
                "comparison needs one teacher"
            )
    for label, recipe in to_run.items():
        for number in range(seeds):
            one = load_recipe(recipe, {"seed": recipe.seed + number})
            runs[label].append(_measure(label, one, teacher, folder, parent, say))


def _measure(
    label: str, recipe: Recipe, teacher: Teacher, folder: Path, parent: ParentRun, say: Say
) -> RunRecord:
    from fastdfkd.api.execution import execute
    from fastdfkd.platform import placement

    directory = folder / "runs" / f"{file_name(label)}-seed{recipe.seed}"
    store = open_store(parent.uri, recipe.tracking.experiment)
    found = find_same(store, placement.fitted_here(recipe), teacher, label, directory)
    if found is None:
        with claimed(recipe.name, directory, overwrite=True):
            result = execute(
                recipe,
                directory,
                parent_run_id=parent.run_id,
                progress=True,
                run_name=directory.name,
            )
        images = image_spec(recipe)
        found = RunRecord(label=label, result=result, images=images, folder=directory, reused=False)
    say(_line(found))
    return found


def _line(run: RunRecord) -> str:
    result = run.result
    return (
        f"{run.label} seed={result.seed}: accuracy {share(result.accuracy)}, synthesis "
        f"{result.synthesis_seconds:.1f} s, end to end {result.end_to_end_seconds:.1f} s"
        f"{' (re-used)' if run.reused else ''}"
    )
