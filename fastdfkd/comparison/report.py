"""Writes a comparison: tables, pictures, `report.html`, and its MLflow run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd import tracking
from fastdfkd.comparison.records import RunRecord, figure_of
from fastdfkd.report.table import csv_text
from fastdfkd.runs.figures import MAIN
from fastdfkd.runs.folder import write_text
from fastdfkd.text.safe_text import metric_name
from fastdfkd.tracking import ParentRun

if TYPE_CHECKING:
    from fastdfkd.comparison.records import Comparison

COMPARISON_FILES = (
    "table.md",
    "table.csv",
    "runs.csv",
    "report.html",
    *(f"{figure}_vs_{time}.png" for figure in MAIN for time in ("synthesis", "end_to_end")),
    "time.png",
    "samples.png",
)


def check_target_accuracy(accuracy: float | None) -> None:
    """Check the target accuracy that the user gave, if any.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if accuracy is not None and not 0 < accuracy < 1:
        raise ValueError(f"--accuracy: expected a number between 0 and 1, got {accuracy}")


def resolve_target_accuracy(
    accuracy: float | None, runs: dict[str, list[RunRecord]]
) -> float | None:
    """`accuracy`, or the lowest mean of all settings, rounded down to a whole percent.

    The mean is that of the figure by which the runs are compared: the accuracy, or without real
    images the agreement on synthetic ones. None if `accuracy` is None and a run lacks that figure.
    """
    if accuracy is not None:
        return accuracy
    figure, means = figure_of(runs), []
    for group in runs.values():
        known = [a for run in group if (a := getattr(run.result, figure)) is not None]
        if len(known) < len(group):
            return None
        means.append(sum(known) / len(known))
    return int(min(means) * 100) / 100


def write_report(comparison: Comparison, folder: Path, parent: ParentRun) -> None:
    """Write tables, pictures and `report.html` into the folder, and log them to MLflow."""
    from fastdfkd.comparison import table as tables
    from fastdfkd.comparison.html_report import render
    from fastdfkd.comparison.pictures import draw_all

    tracking.check_reachable(parent.uri)
    table = tables.comparison_table(comparison)
    draw_all(comparison, folder)
    for name, rows in (("table.csv", table), ("runs.csv", tables.run_table(comparison))):
        write_text(folder / name, csv_text(tables.named_by_figure(rows, comparison.figure)))
    notes = tables.table_notes(comparison, table)
    write_text(folder / "table.md", tables.markdown_page(comparison, table, notes))
    write_text(folder / "report.html", render(comparison, table, notes, folder))
    figures = {
        metric_name(f"{row['setting']}.{name}"): float(row[name])
        for row in table.to_dict("records")
        for name in (comparison.figure, "synthesis_speedup", "end_to_end_speedup")
    }
    files = [folder / name for name in COMPARISON_FILES if (folder / name).is_file()]
    parent.log(metrics=figures, artifacts=files)
