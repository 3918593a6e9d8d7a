"""START HERE: compare settings with a reference over several seeds.

reuse finished runs, run the others -> table -> pictures -> report -> MLflow
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.comparison.records import Comparison, RunRecord
from fastdfkd.comparison.report import (
    COMPARISON_FILES,
    check_target_accuracy,
    resolve_target_accuracy,
    write_report,
)
from fastdfkd.comparison.run_records import find_reusable_run, load_run_record
from fastdfkd.comparison.sources import Setting, Source, read_settings
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.sections import TrackingSection
from fastdfkd.report.table import share
from fastdfkd.runs.figures import FIGURES, main_figure, measured
from fastdfkd.runs.folder import claim_folder
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
    target_accuracy: float | None = None,
    out: str | Path | None = None,
    address: str | None = None,
    say: Say = lambda _: None,
) -> tuple[Comparison, Path]:
    """Run every recipe with every seed, compare the runs, and write the report.

    A finished run of the same recipe, seed, teacher, commit and hardware is reused.

    Args:
        sources: what to compare with the reference: recipes, or finished runs by folder or MLflow
            run id.
        reference: recipe or finished run that counts as 1x.
        overrides: applied to all recipes, not to finished runs.
        seeds: number of runs of each recipe, with its seed and the numbers after it.
        target_accuracy: measure the time to this accuracy, 0 to 1; None takes the lowest mean
            accuracy of all settings, rounded down to a whole percent.
        out: folder; None means `runs/compare-<reference>-<time>/`.
        address: Ray cluster to join; None starts a local one.
        say: called with one message per run.

    Returns:
        The comparison and its folder.

    Raises:
        ValueError: recipes share a name, data or teachers differ, or a source is not valid.
    """
    check_target_accuracy(target_accuracy)
    if seeds < 1:
        raise ValueError(f"--seeds: expected a number at least 1, got {seeds}")
    settings = read_settings(sources, reference, overrides, say)
    first = settings[0]
    to_run = [setting.recipe for setting in settings if not setting.finished]
    tracking = to_run[0].tracking if to_run else TrackingSection()
    name = f"compare {first.label}"
    with (
        claim_folder(f"compare-{file_name(first.label)}", out, files=COMPARISON_FILES) as folder,
        _cluster(address, to_run),
        ParentRun(name, experiment=tracking.experiment, uri=tracking.uri) as parent,
    ):
        runs = {setting.label: _finished_runs(setting, folder, say) for setting in settings}
        if to_run:
            _run_all(settings, seeds, runs, folder, parent, say)
        comparison = Comparison(
            reference=first.label,
            runs=runs,
            target_accuracy=resolve_target_accuracy(target_accuracy, runs),
            title=f"Against {first.label}",
        )
        write_report(comparison, folder, parent)
    return comparison, folder


@contextmanager
def _cluster(address: str | None, to_run: Sequence[Recipe]) -> Iterator[None]:
    """Connect to Ray for the `with` block if there is a recipe to run."""
    if not to_run:
        yield
        return
    from fastdfkd.api.execution import warm_up
    from fastdfkd.platform import cluster

    with cluster.connect(address, partial(warm_up, to_run[0])):
        yield


def _finished_runs(setting: Setting, folder: Path, say: Say) -> list[RunRecord]:
    """The finished runs of a setting, in the order of their seeds."""
    runs = []
    for number, source in enumerate(setting.finished):
        into = folder / "runs" / f"{file_name(setting.label)}-taken{number}"
        run = load_run_record(setting.label, source.recipe, source.fetch(into))
        say(_summary(run))
        runs.append(run)
    return sorted(runs, key=lambda run: run.result.seed)


def _run_all(
    settings: Sequence[Setting],
    seeds: int,
    runs: dict[str, list[RunRecord]],
    folder: Path,
    parent: ParentRun,
    say: Say,
) -> None:
    """Run the settings without finished runs, all with one teacher, and add the runs to `runs`."""
    from fastdfkd.api.execution import obtain_teacher
    from fastdfkd.platform.placement import check_places

    to_run = {setting.label: setting.recipe for setting in settings if not setting.finished}
    teacher = obtain_teacher(
        next(iter(to_run.values())),
        progress=True,
        before_work=partial(check_places, to_run.values()),
    )
    for run in (run for finished in runs.values() for run in finished):
        if run.result.teacher_digest not in ("", teacher.digest):
            raise ValueError(
                f"{run.label} ({run.folder}) was made with the teacher "
                f"{run.result.teacher_digest[:12]}, the recipes use {teacher.digest[:12]}: a "
                "comparison needs one teacher"
            )
    for label, recipe in to_run.items():
        for number in range(seeds):
            seeded = load_recipe(recipe, {"seed": recipe.seed + number})
            runs[label].append(_reuse_or_run(label, seeded, teacher, folder, parent, say))


def _reuse_or_run(
    label: str, recipe: Recipe, teacher: Teacher, folder: Path, parent: ParentRun, say: Say
) -> RunRecord:
    """The same run from MLflow if there is one, else a new run."""
    from fastdfkd.api.execution import execute
    from fastdfkd.platform import placement

    directory = folder / "runs" / f"{file_name(label)}-seed{recipe.seed}"
    store = open_store(parent.uri, recipe.tracking.experiment)
    run = find_reusable_run(store, placement.fitted_here(recipe), teacher, label, directory)
    if run is None:
        with claim_folder(recipe.name, directory, overwrite=True):
            result = execute(
                recipe,
                directory,
                parent_run_id=parent.run_id,
                progress=True,
                run_name=directory.name,
            )
        images = image_spec(recipe)
        run = RunRecord(label=label, result=result, images=images, folder=directory, reused=False)
    say(_summary(run))
    return run


def _summary(run: RunRecord) -> str:
    result = run.result
    figures = measured(result.model_dump(include=set(FIGURES)))
    name = main_figure(figures)
    return (
        f"{run.label} seed={result.seed}: {FIGURES[name].name} {share(figures.get(name))}, "
        f"synthesis {result.synthesis_seconds:.1f} s, end to end {result.end_to_end_seconds:.1f} s"
        f"{' (re-used)' if run.reused else ''}"
    )
