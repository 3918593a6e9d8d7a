"""Compares the finished runs of an MLflow experiment, without running anything."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fastdfkd.comparison.records import Comparison, RunRecord
from fastdfkd.comparison.report import (
    COMPARISON_FILES,
    check_target_accuracy,
    resolve_target_accuracy,
    write_report,
)
from fastdfkd.comparison.run_records import load_experiment, load_run_record
from fastdfkd.comparison.sources import ACCEPTED, Source, open_source
from fastdfkd.runs.folder import claim_folder
from fastdfkd.text.safe_text import file_name
from fastdfkd.tracking import ParentRun
from fastdfkd.tracking.store import open_store, store_uri

log = logging.getLogger(__name__)


def compare_experiment(
    experiment: str,
    reference: Source,
    *,
    target_accuracy: float | None = None,
    out: str | Path | None = None,
) -> tuple[Comparison, Path]:
    """Compare the finished runs of an MLflow experiment; nothing is run.

    A run is left out if its data or teacher differs from the newest run of the reference.

    Args:
        experiment: name of the experiment.
        reference: what counts as 1x: the label of a setting in the experiment, or a source as
            `compare` takes it.
        target_accuracy: see `compare`.
        out: see `compare`.

    Returns:
        The comparison and its folder.

    Raises:
        ValueError: the experiment has no finished run of the reference, or of any other setting.
    """
    check_target_accuracy(target_accuracy)
    with claim_folder(f"compare-{file_name(experiment)}", out, files=COMPARISON_FILES) as folder:
        return _compare_into(experiment, reference, target_accuracy, folder), folder


def _compare_into(
    experiment: str, reference: Source, target_accuracy: float | None, folder: Path
) -> Comparison:
    """Do the work of `compare_experiment` in a folder that is locked."""
    store = open_store(store_uri(None), experiment)
    records = load_experiment(store, folder / "runs")
    records, label = _add_reference(records, reference, folder)
    runs: dict[str, list[RunRecord]] = {label: []}
    for run in _comparable(records, label):
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
            target_accuracy=resolve_target_accuracy(target_accuracy, runs),
            title=f"Experiment {experiment}, against {label}",
        )
        write_report(comparison, folder, parent)
    return comparison


def _add_reference(
    runs: list[RunRecord], reference: Source, folder: Path
) -> tuple[list[RunRecord], str]:
    """The runs, with the reference run added if it is not among them; the reference's label."""
    labels = {run.label for run in runs}
    try:
        source = None if reference in labels else open_source(reference, (), "--reference")
    except ValueError:  # the caller reports it, with the labels that the experiment has
        source = None
    if source is None:
        return runs, str(reference)
    if source.result is None:
        return runs, source.recipe.name
    result = source.result.model_dump()
    for run in runs:
        if run.result.model_dump() == result:
            return runs, run.label
    name = source.recipe.name
    label = f"{name} as reference" if name in labels else name
    into = folder / "runs" / "reference"
    return [*runs, load_run_record(label, source.recipe, source.fetch(into))], label


def _comparable(newest_first: Sequence[RunRecord], reference: str) -> list[RunRecord]:
    """Runs with the reference's data and teacher, in the order of their seeds.

    All runs if there is no reference run.
    """
    groups = [(run.images, run.result.teacher_digest) for run in newest_first]
    group_of_reference = next(
        (group for group, run in zip(groups, newest_first, strict=True) if run.label == reference),
        None,
    )
    if group_of_reference is None:
        return sorted(newest_first, key=lambda run: run.result.seed)
    kept = [
        run for group, run in zip(groups, newest_first, strict=True) if group == group_of_reference
    ]
    if left_out := len(newest_first) - len(kept):
        log.warning(
            "%d runs of other data or of another teacher than %s are left out", left_out, reference
        )
    return sorted(kept, key=lambda run: run.result.seed)
