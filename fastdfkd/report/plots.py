"""Pictures of measured runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastdfkd.metrics_file import read_rows

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_MARKERS = ("o", "s", "^", "D", "v", "P")


def accuracy_against_synthesis(
    runs: Mapping[str, Path], path: str | Path, *, teacher_accuracy: float, title: str = ""
) -> None:
    """Draw accuracy against seconds of synthesis (log scale), a line a run, as PNG.

    Args:
        runs: label to the run's folder, whose `metrics.csv` holds the evaluations.
        path: the file to write.
        teacher_accuracy: 0 to 1, drawn as a dashed line.
        title: above the picture.

    Raises:
        FileNotFoundError: a folder has no `metrics.csv`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(teacher_accuracy * 100, color="0.35", linestyle="--", linewidth=1.2)
    axes.annotate(
        f"teacher {teacher_accuracy * 100:.1f} %",
        xy=(0.005, teacher_accuracy * 100),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color="0.35",
    )
    for index, (label, folder) in enumerate(runs.items()):
        points = _evaluations(folder)
        axes.plot(
            [x for x, _ in points],
            [y * 100 for _, y in points],
            label=label,
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=6,
            linewidth=1.8,
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 106)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("synthesis, seconds (log scale)")
    axes.set_ylabel("accuracy on held-out real images, %")
    axes.set_title(title, loc="left")
    axes.grid(True, which="major", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    figure.savefig(path, dpi=150, format="png")


def _evaluations(folder: Path) -> list[tuple[float, float]]:
    """(synthesis seconds, accuracy) of a run's evaluation rows, in time's order.

    Seconds are carried forward where an evaluation row does not repeat them.
    """
    points, seconds = [], 0.0
    for row in read_rows(folder / "metrics.csv"):
        seconds = row.get("synthesis_seconds", seconds)
        if "accuracy" in row and seconds > 0:
            points.append((seconds, row["accuracy"]))
    return points
