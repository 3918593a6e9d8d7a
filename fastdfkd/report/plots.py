"""Accuracy against seconds, a line a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastdfkd.report.drawing import (
    accuracy_axis,
    legend,
    legend_inches,
    picture,
    seconds_axis,
    style,
)
from fastdfkd.runs.metrics import read_rows
from fastdfkd.text.safe_text import printable


def accuracy_against_seconds(
    runs: Mapping[str, Sequence[Path]],
    path: str | Path,
    *,
    column: str = "synthesis_seconds",
    teacher_accuracy: float | None,
    title: str = "",
) -> None:
    """Draw accuracy against seconds (log scale), a line a run and a style a setting, as PNG.

    Args:
        runs: setting to the folders of its runs, whose `metrics.csv` hold the evaluations.
        path: the file to write.
        column: of `metrics.csv`, whose name ends in `_seconds`.
        teacher_accuracy: 0 to 1, drawn as a line of its own; None: no line.
        title: above the picture.

    Raises:
        FileNotFoundError: a folder has no `metrics.csv`.
    """
    names = [printable(name) for name in runs]
    with picture(Path(path), 8, 5 + legend_inches(names)) as axes:
        accuracy_axis(axes, teacher_accuracy)
        for index, (name, folders) in enumerate(zip(names, runs.values(), strict=True)):
            for number, folder in enumerate(folders):
                found = points(folder, column)
                axes.plot(
                    [x for x, _ in found],
                    [y * 100 for _, y in found],
                    label=name if number == 0 else None,
                    markersize=5,
                    linewidth=1.4,
                    **style(index),
                )
        seconds_axis(axes, column.removesuffix("_seconds").replace("_", " "))
        axes.set_title(printable(title), loc="left")
        legend(axes, names)


def points(folder: Path, column: str) -> list[tuple[float, float]]:
    """(seconds, accuracy) of a run's evaluation rows, in time's order.

    Seconds are carried forward where an evaluation row does not repeat them.
    """
    found, seconds = [], 0.0
    for row in read_rows(folder / "metrics.csv"):
        seconds = row.get(column, seconds)
        if "accuracy" in row and seconds > 0:
            found.append((seconds, row["accuracy"]))
    return found
