"""A comparison of the finished runs that an MLflow experiment holds; nothing is run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fastdfkd.comparison.records import Comparison, RunRecord
from fastdfkd.comparison.report import COMPARISON_FILES, check_goal, goal_of, write_report
from fastdfkd.comparison.run_records import all_of, run_record
from fastdfkd.comparison.sources import ACCEPTED, Source, open_source
from fastdfkd.runs.folder import claimed
from fastdfkd.text.safe_text import file_name
from fastdfkd.tracking import ParentRun
from fastdfkd.tracking.store import open_store, store_uri

log = logging.getLogger(__name__)


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
    check_goal(goal)
    with claimed(f"compare-{file_name(experiment)}", out, files=COMPARISON_FILES) as folder:
        return _compared(experiment, reference, goal, folder), folder


def _compared(experiment: str, reference: Source, goal: float | None, folder: Path) -> Comparison:
    """`compare_experiment` in a folder that is held."""
    store = open_store(store_uri(None), experiment)
    found, label = _with_reference(all_of(store, folder / "runs"), reference, folder)
    runs: dict[str, list[RunRecord]] = {label: []}
    for run in _comparable(found, label):
        runs.setdefault(run.label, []).append(run)
    if not runs[label] or len(runs) < 2:
        raise ValueError(
            f"experiment {experiment} in {store.uri} holds {len(runs[label])} "
            f"finished runs of {label} and others of {sorted(set(runs) - {label}) or 'nothing'}: "
            f"expected both. --reference takes one of these, {ACCEPTED}; `fastdfkd compare "
            "RECIPE... --reference RECIPE` makes runs"
        )
    with ParentRun(f"compare {label}", experiment=experiment) as parent:
        comparison = Comparison(
            reference=label,
            runs=runs,
            goal=goal_of(goal, runs),
            title=f"Experiment {experiment}, against {label}",
        )
        write_report(comparison, folder, parent)
    return comparison


def _with_reference(
    found: list[RunRecord], reference: Source, folder: Path
) -> tuple[list[RunRecord], str]:
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
    return [*found, run_record(label, given.recipe, given.bring(into))], label


def _comparable(newest_first: Sequence[RunRecord], reference: str) -> list[RunRecord]:
    """Runs of the reference's data and teacher, in the order of their seeds."""
    kinds = [(run.images, run.result.teacher_digest) for run in newest_first]
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
