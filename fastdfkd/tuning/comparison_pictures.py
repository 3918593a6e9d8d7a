"""Pictures of a comparison: curves over synthesis and end-to-end time, where time goes, samples."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.metrics_file import read_rows

if TYPE_CHECKING:
    from fastdfkd.tuning.comparison import Comparison

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
log = logging.getLogger(__name__)
_PARTS = ("synthesis", "storage", "distillation")


def draw_all(comparison: Comparison, folder: Path) -> None:
    """Write the four PNG files into the folder; `samples.png` only where runs kept theirs."""
    for column, name in (
        ("synthesis_seconds", "accuracy_vs_synthesis.png"),
        ("end_to_end_seconds", "accuracy_vs_end_to_end.png"),
    ):
        _curves(comparison, column, folder / name)
    _where_time_goes(comparison, folder / "time.png")
    _samples(comparison, folder / "samples.png")


def _curves(comparison: Comparison, column: str, path: Path) -> None:
    """Accuracy against seconds (log), a thin line a run, one colour a setting."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = _canvas(8, 5)
    teacher = comparison.runs[comparison.reference][0].result.teacher_accuracy * 100
    axes.axhline(teacher, color="0.35", linestyle="--", linewidth=1.2, label="teacher")
    for index, (label, runs) in enumerate(comparison.runs.items()):
        for number, run in enumerate(runs):
            points = _points(run.folder, column)
            axes.plot(
                [x for x, _ in points],
                [y * 100 for _, y in points],
                "o-",
                color=_COLOURS[index % len(_COLOURS)],
                markersize=3.5,
                linewidth=1.2,
                label=label if number == 0 else None,
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 106)
    axes.set_xlabel(f"{column.removesuffix('_seconds').replace('_', ' ')}, seconds (log scale)")
    axes.set_ylabel("accuracy on held-out real images, %")
    axes.grid(True, which="major", color="0.9")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, format="png")


def _points(folder: Path, column: str) -> list[tuple[float, float]]:
    """(seconds, accuracy) at the evaluations; missing seconds are carried forward."""
    points, seconds = [], 0.0
    for row in read_rows(folder / "metrics.csv"):
        seconds = row.get(column, seconds)
        if "accuracy" in row and seconds > 0:
            points.append((seconds, row["accuracy"]))
    return points


def _where_time_goes(comparison: Comparison, path: Path) -> None:
    """Milliseconds an image in synthesis, storage and distillation, stacked, a bar a setting."""
    figure, axes = _canvas(8, 1.4 + 0.7 * len(comparison.runs))
    labels = list(comparison.runs)[::-1]
    left = [0.0] * len(labels)
    for part, colour in zip(_PARTS, _COLOURS, strict=False):
        widths = [_milliseconds(comparison, label, part) for label in labels]
        axes.barh(labels, widths, left=left, color=colour, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axes.annotate(f" {total:.3g} ms", (total, place), va="center")
    axes.set_xlim(0, max(left) * 1.15)
    axes.set_xlabel("milliseconds an image made, mean over seeds; roles may overlap in time")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130, format="png")


def _milliseconds(comparison: Comparison, label: str, part: str) -> float:
    runs = [run.result for run in comparison.runs[label]]
    costs = [float(getattr(run, f"{part}_seconds")) / run.images * 1e3 for run in runs]
    return sum(costs) / len(costs)


def _samples(comparison: Comparison, path: Path) -> None:
    """Each setting's newest images, cut to the same part of the grid, side by side."""
    import numpy as np
    from PIL import Image

    found = {}
    for label, runs in comparison.runs.items():
        file = runs[0].folder / "samples.png"
        if file.is_file():
            try:
                with Image.open(file, formats=["PNG"]) as picture:
                    found[label] = np.asarray(picture.convert("RGB"))
            except Exception as error:  # whatever Pillow raises about a damaged file
                log.warning("the samples of %s are left out, %s: %s", label, file, error)
    if not found:
        return
    figure, panels = _canvas(3.2 * len(found), 3.6, len(found))
    for panel, (label, pixels) in zip(panels, found.items(), strict=True):
        side = min(pixels.shape[:2])
        panel.imshow(pixels[:side, :side], interpolation="nearest")
        panel.set_title(label, fontsize=10)
        panel.axis("off")
    figure.savefig(path, dpi=130, format="png")


def _canvas(width: float, height: float, panels: int | None = None) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if panels is not None:
        return figure, figure.subplots(1, panels, squeeze=False)[0]
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
