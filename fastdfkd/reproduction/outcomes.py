"""What came of each cell of a table: the figures of its runs, or what is missing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastdfkd.reproduction.published import Cell
from fastdfkd.reproduction.request import TableRun
from fastdfkd.runs.folder import read_json
from fastdfkd.tuning.point_recipes import RECIPE
from fastdfkd.tuning.trial_log import TrialLog, TrialRecord

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One cell."""

    cell: Cell
    seeds: int
    """Runs that were asked for."""
    accuracies: tuple[float, ...] = ()
    """The table's figure in percent, of each finished run."""
    hours: tuple[float, ...] = ()
    """Hours of synthesis of each finished run."""
    end_to_end_hours: tuple[float, ...] = ()
    """Hours from the first draw of z to the last update, of each finished run."""
    teacher_accuracy: float | None = None
    """In percent."""
    missing: str = ""
    """Why runs are missing; empty if none is."""

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy in percent; None if no run has finished."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the accuracy in percent; None for fewer than two runs."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def mean_hours(self) -> float | None:
        """Mean hours of synthesis; None if no run has finished."""
        return statistics.fmean(self.hours) if self.hours else None


def outcomes(run: TableRun, reasons: Mapping[str, str]) -> list[Outcome]:
    """The outcomes of all cells of a table, in its order.

    Args:
        run: the table.
        reasons: why the runs of a recipe were not started, by the recipe's name.
    """
    records: dict[str, list[TrialRecord]] = {}
    for folder in run.groups:
        for record in TrialLog(folder).records():
            records.setdefault(record.point[RECIPE], []).append(record)
    return [
        _outcome(run, cell, records.get(cell.recipe, []), reasons.get(cell.recipe, ""))
        for cell in run.cells
    ]


def _outcome(run: TableRun, cell: Cell, records: Sequence[TrialRecord], reason: str) -> Outcome:
    seeds, figure = run.request.seeds, run.table.figure
    finished = sorted((r for r in records if r.status == "finished"), key=lambda r: r.seed)
    judged = [record for record in finished if figure in record.figures]
    missing = ""
    if len(finished) < seeds:
        failed = [record.error for record in records if record.status == "failed"]
        missing = failed[-1] if failed else reason or "not run yet"
        if finished:
            missing = f"{len(finished)} of {seeds} seeds: {missing}"
    elif not judged:
        missing = f"no {run.table.figure_name}: there are no real test images"
    return Outcome(
        cell=cell,
        seeds=seeds,
        accuracies=tuple(100 * record.figures[figure] for record in judged),
        hours=tuple(record.figures["synthesis_seconds"] / _HOUR for record in finished),
        end_to_end_hours=tuple(r.figures["end_to_end_seconds"] / _HOUR for r in finished),
        teacher_accuracy=_teacher_accuracy(finished, figure),
        missing=missing,
    )


def _teacher_accuracy(finished: Sequence[TrialRecord], figure: str) -> float | None:
    """The figure of the runs' teacher in percent."""
    for record in finished:
        try:
            accuracy = read_json(Path(record.directory) / "teacher.json").get(figure)
        except (OSError, ValueError):  # the run's folder was moved or damaged
            continue
        if isinstance(accuracy, float):
            return 100 * accuracy
    return None


def speed_up(row: Sequence[Outcome], reference: Sequence[Outcome]) -> float | None:
    """The mean over the pairs of the reference's hours divided by the row's, as the paper has it.

    None if no pair has both.
    """
    ratios = [
        other.mean_hours / mine.mean_hours
        for mine in row
        for other in reference
        if mine.cell.pair == other.cell.pair and mine.mean_hours and other.mean_hours
    ]
    return math.fsum(ratios) / len(ratios) if ratios else None
