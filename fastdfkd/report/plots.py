"""Plots accuracy against seconds, one line per run."""

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
from fastdfkd.runs.figures import FIGURES, SYNTHETIC
from fastdfkd.runs.metrics import read_rows
from fastdfkd.text.safe_text import printable


def accuracy_against_seconds(
    runs: Mapping[str, Sequence[Path]],
    path: str | Path,
    *,
    column: str = "synthesis_seconds",
    teacher_accuracy: float | None,
    figure: str = "accuracy",
    title: str = "",
) -> None:
    """Draw accuracy against seconds (log scale) as PNG: one line per run, one style per setting.

    Args:
        runs: folders of the runs, by setting. Their `metrics.csv` hold the evaluations.
        path: file to write.
        column: column of `metrics.csv` for the x-axis; its name ends in `_seconds`.
        teacher_accuracy: the teacher's `figure`, 0 to 1, drawn as a line; None draws no line.
        figure: column of `metrics.csv` for the y-axis, a share.
        title: title of the picture.

    Raises:
        FileNotFoundError: a folder has no `metrics.csv`.
    """
    names = [printable(name) for name in runs]
    with picture(Path(path), 8, 5 + legend_inches(names)) as axes:
        on = "" if figure in SYNTHETIC else " on held-out real images"
        accuracy_axis(axes, teacher_accuracy, f"{FIGURES[figure].name}{on}")
        for index, (name, folders) in enumerate(zip(names, runs.values(), strict=True)):
            for number, folder in enumerate(folders):
                curve = points(folder, column, figure)
                axes.plot(
                    [x for x, _ in curve],
                    [y * 100 for _, y in curve],
                    label=name if number == 0 else None,
                    markersize=5,
                    linewidth=1.4,
                    **style(index),
                )
        seconds_axis(axes, column.removesuffix("_seconds").replace("_", " "))
        axes.set_title(printable(title), loc="left")
        legend(axes, names)


def points(folder: Path, column: str, figure: str = "accuracy") -> list[tuple[float, float]]:
    """(seconds, figure) of the evaluations of a run, in order of time.

    An evaluation row without seconds takes those of the row before it.
    """
    evaluations, seconds = [], 0.0
    for row in read_rows(folder / "metrics.csv"):
        seconds = row.get(column, seconds)
        if figure in row and seconds > 0:
            evaluations.append((seconds, row[figure]))
    return evaluations
