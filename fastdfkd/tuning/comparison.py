"""START HERE for speed-ups: settings against a reference, over seeds, with everything shown.

run what is missing (or take an experiment's runs) -> table -> pictures -> report -> MLflow
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd import tracking
from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.sections import TrackingSection
from fastdfkd.report.table import csv_text
from fastdfkd.run_folder import claim, write_text
from fastdfkd.safe_text import file_name, metric_name
from fastdfkd.tracking import ParentRun
from fastdfkd.tracking.store import open_store, store_uri, without_password
from fastdfkd.tuning.measured import Measured, all_of, find_same, measured
from fastdfkd.tuning.sources import ACCEPTED, Setting, Source, open_source, read_settings

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

log = logging.getLogger(__name__)
Say = Callable[[str], None]
COMPARISON_FILES = (
    "table.md",
    "table.csv",
    "runs.csv",
    "report.html",
    "accuracy_vs_synthesis.png",
    "accuracy_vs_end_to_end.png",
    "time.png",
    "samples.png",
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs of several settings; every setting has the reference's seeds, or fewer."""

    reference: str
    """Label of the 1x."""
    runs: dict[str, list[Measured]]
    """By label, in the order of the table; runs in the order of their seeds."""
    goal: float
    """The named accuracy, 0 to 1."""
    title: str


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
    _check_goal(goal)
    if seeds < 1:
        raise ValueError(f"--seeds: expected a number at least 1, got {seeds}")
    settings = read_settings(sources, reference, overrides)
    first = settings[0]
    to_run = [setting.recipe for setting in settings if not setting.finished]
    tracked = to_run[0].tracking if to_run else TrackingSection()
    folder = claim(f"compare-{file_name(first.label)}", out, files=COMPARISON_FILES)
    name = f"compare {first.label}"
    with (
        _cluster(address, to_run),
        ParentRun(name, experiment=tracked.experiment, uri=tracked.uri) as parent,
    ):
        runs = {setting.label: _taken(setting, folder, say) for setting in settings}
        if to_run:
            _run_all(settings, seeds, runs, folder, parent, say)
        comparison = Comparison(
            reference=first.label, runs=runs, goal=_goal(goal, runs), title=f"Against {first.label}"
        )
        _report(comparison, folder, parent)
    return comparison, folder


@contextmanager
def _cluster(address: str | None, to_run: Sequence[Recipe]) -> Iterator[None]:
    """Ray, where anything is to be run."""
    if not to_run:
        yield
        return
    from fastdfkd.platform import cluster
    from fastdfkd.running import warm_up

    with cluster.connect(address, partial(warm_up, to_run[0])):
        yield


def _taken(setting: Setting, folder: Path, say: Say) -> list[Measured]:
    """The finished runs of a setting, in the order of their seeds."""
    found = []
    for number, given in enumerate(setting.finished):
        into = folder / "runs" / f"{file_name(setting.label)}-taken{number}"
        run = measured(setting.label, given.recipe, given.bring(into))
        say(_line(run))
        found.append(run)
    return sorted(found, key=lambda run: run.result.seed)


def _run_all(
    settings: Sequence[Setting],
    seeds: int,
    runs: dict[str, list[Measured]],
    folder: Path,
    parent: ParentRun,
    say: Say,
) -> None:
    """Run the settings that have no finished runs, with one teacher, and add them to `runs`."""
    from fastdfkd.running import obtain_teacher

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


def compare_experiment(
    experiment: str,
    reference: Source,
    *,
    goal: float | None = None,
    out: str | Path | None = None,
) -> tuple[Comparison, Path]:
    """Compare the finished runs that an MLflow experiment holds; nothing is run.

    Runs of other data or of another teacher than the newest run of the reference are left out.

    Args:
        experiment: its name.
        reference: the 1x: a setting of the experiment, or what `compare` takes as one.
        goal: as in `compare`.
        out: as in `compare`.

    Raises:
        ValueError: the experiment holds no finished run of the reference, or of nothing else.
    """
    _check_goal(goal)
    folder = claim(f"compare-{file_name(experiment)}", out, files=COMPARISON_FILES)
    store = open_store(store_uri(None), experiment)
    found, label = _with_reference(all_of(store, folder / "runs"), reference, folder)
    runs: dict[str, list[Measured]] = {label: []}
    for run in _comparable(found, label):
        runs.setdefault(run.label, []).append(run)
    if not runs[label] or len(runs) < 2:
        raise ValueError(
            f"experiment {experiment} in {without_password(store.uri)} holds {len(runs[label])} "
            f"finished runs of {label} and others of {sorted(set(runs) - {label}) or 'nothing'}: "
            f"expected both. --reference takes one of these, {ACCEPTED}; `fastdfkd compare "
            "RECIPE... --reference RECIPE` makes runs"
        )
    with ParentRun(f"compare {label}", experiment=experiment) as parent:
        comparison = Comparison(
            reference=label,
            runs=runs,
            goal=_goal(goal, runs),
            title=f"Experiment {experiment}, against {label}",
        )
        _report(comparison, folder, parent)
    return comparison, folder


def _with_reference(
    found: list[Measured], reference: Source, folder: Path
) -> tuple[list[Measured], str]:
    """The runs with that of the reference, which may be another one, and the reference's label."""
    called = {run.label for run in found}
    try:
        given = None if reference in called else open_source(reference, (), "--reference")
    except ValueError:  # told with what there is
        given = None
    if given is None:
        return found, str(reference)
    if given.result is None:
        return found, given.recipe.name
    facts = given.result.model_dump()
    for run in found:
        if run.result.model_dump() == facts:
            return found, run.label
    name = given.recipe.name
    label = f"{name} as reference" if name in called else name
    into = folder / "runs" / "reference"
    return [*found, measured(label, given.recipe, given.bring(into))], label


def _comparable(newest_first: Sequence[Measured], reference: str) -> list[Measured]:
    """Runs of the reference's data and teacher, in the order of their seeds."""
    kinds = [(run.data, run.result.teacher_digest) for run in newest_first]
    wanted = next(
        (kind for kind, run in zip(kinds, newest_first, strict=True) if run.label == reference),
        None,
    )
    found = [run for kind, run in zip(kinds, newest_first, strict=True) if kind == wanted]
    if wanted and (left_out := len(newest_first) - len(found)):
        log.warning(
            "%d runs of other data or of another teacher than %s are left out", left_out, reference
        )
    return sorted(found or newest_first, key=lambda run: run.result.seed)


def _measure(
    label: str, recipe: Recipe, teacher: Teacher, folder: Path, parent: ParentRun, say: Say
) -> Measured:
    from fastdfkd.platform import placement
    from fastdfkd.running import execute

    directory = folder / "runs" / f"{file_name(label)}-seed{recipe.seed}"
    store = open_store(parent.uri, recipe.tracking.experiment)
    found = find_same(store, placement.fitted_here(recipe), teacher, label, directory)
    if found is None:
        claim(recipe.name, directory, overwrite=True)
        result = execute(
            recipe,
            directory,
            parent_run_id=parent.run_id,
            progress=True,
            run_name=directory.name,
        )
        found = Measured(
            label=label, result=result, data=recipe.data.name, folder=directory, reused=False
        )
    say(_line(found))
    return found


def _line(run: Measured) -> str:
    result = run.result
    return (
        f"{run.label} seed={result.seed}: accuracy {result.accuracy:.1%}, synthesis "
        f"{result.synthesis_seconds:.1f} s, end to end {result.end_to_end_seconds:.1f} s"
        f"{' (re-used)' if run.reused else ''}"
    )


def _check_goal(goal: float | None) -> None:
    if goal is not None and not 0 < goal < 1:
        raise ValueError(f"--accuracy: expected a share between 0 and 1, got {goal}")


def _goal(goal: float | None, runs: dict[str, list[Measured]]) -> float:
    if goal is not None:
        return goal
    means = [sum(r.result.accuracy for r in group) / len(group) for group in runs.values()]
    return int(min(means) * 100) / 100


def _report(comparison: Comparison, folder: Path, parent: ParentRun) -> None:
    """Write tables, pictures and `report.html`, and log them."""
    from fastdfkd.tuning import comparison_table as tables
    from fastdfkd.tuning.comparison_pictures import draw_all
    from fastdfkd.tuning.html_report import render

    tracking.check_reachable(parent.uri)
    table = tables.comparison_table(comparison)
    draw_all(comparison, folder)
    write_text(folder / "table.csv", csv_text(table))
    write_text(folder / "runs.csv", csv_text(tables.run_table(comparison)))
    notes = tables.words(comparison, table)
    write_text(folder / "table.md", tables.markdown_page(comparison, table, notes))
    write_text(folder / "report.html", render(comparison, table, notes, folder))
    figures = {
        metric_name(f"{row['setting']}.{name}"): float(row[name])
        for row in table.to_dict("records")
        for name in ("accuracy", "synthesis_speedup", "end_to_end_speedup")
    }
    files = [folder / name for name in COMPARISON_FILES if (folder / name).is_file()]
    parent.log(metrics=figures, artifacts=files)
