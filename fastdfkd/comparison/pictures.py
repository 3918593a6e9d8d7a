"""Pictures of a comparison: accuracy over time, time per image by part, and sample images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.report.drawing import FILLS, picture
from fastdfkd.report.plots import accuracy_against_seconds
from fastdfkd.text.safe_text import printable

if TYPE_CHECKING:
    from fastdfkd.comparison.records import Comparison

log = logging.getLogger(__name__)
_PARTS = ("synthesis", "storage", "distillation")
_PANELS_PER_ROW = 5


def draw_all(comparison: Comparison, folder: Path) -> None:
    """Write the four PNG files into the folder; `samples.png` only if a run has its own."""
    reference = comparison.runs[comparison.reference][0].result
    for column in ("synthesis_seconds", "end_to_end_seconds"):
        accuracy_against_seconds(
            {name: [run.folder for run in runs] for name, runs in comparison.runs.items()},
            folder / f"{comparison.figure}_vs_{column.removesuffix('_seconds')}.png",
            column=column,
            figure=comparison.figure,
            teacher_accuracy=reference.of_teacher(comparison.figure),
        )
    _draw_time_per_image(comparison, folder / "time.png")
    _draw_samples(comparison, folder / "samples.png")


def _draw_time_per_image(comparison: Comparison, path: Path) -> None:
    """Draw one stacked bar per setting: milliseconds per image, by part."""
    settings = list(comparison.runs)[::-1]
    rows = range(len(settings))
    left = [0.0] * len(settings)
    with picture(path, 8, 1.4 + 0.5 * len(settings)) as axes:
        for part, fill in zip(_PARTS, FILLS, strict=True):
            widths = [_milliseconds(comparison, name, part) for name in settings]
            axes.barh(rows, widths, left=left, label=part, height=0.7, linewidth=0.6, **fill)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for row, total in enumerate(left):
            axes.annotate(f" {total:.3g} ms", (total, row), va="center")
        axes.set_yticks(rows, [printable(name) for name in settings])
        axes.set_xlim(0, max(left) * 1.15)
        axes.set_xlabel("milliseconds per image, mean over seeds; the parts may overlap in time")
        axes.figure.legend(frameon=False, loc="outside lower center", ncols=len(_PARTS))


def _milliseconds(comparison: Comparison, name: str, part: str) -> float:
    runs = [run.result for run in comparison.runs[name]]
    costs = [float(getattr(run, f"{part}_seconds")) / run.images * 1e3 for run in runs]
    return sum(costs) / len(costs)


def _draw_samples(comparison: Comparison, path: Path) -> None:
    """Draw the newest images of each setting side by side, each grid cropped to a square."""
    import numpy as np
    from PIL import Image

    grids = {}
    for name, runs in comparison.runs.items():
        file = runs[0].folder / "samples.png"
        if file.is_file():
            try:
                with Image.open(file, formats=["PNG"]) as sheet:
                    grids[name] = np.asarray(sheet.convert("RGB"))
            except Exception as error:  # Pillow raises many types for a damaged file
                log.warning("the samples of %s are left out, %s: %s", name, file, error)
    if not grids:
        return
    columns = min(len(grids), _PANELS_PER_ROW)
    rows = -(-len(grids) // columns)
    with picture(path, 3.2 * columns, 3.6 * rows, rows=rows, columns=columns) as panels:
        for panel in panels:
            panel.axis("off")
        for panel, (name, pixels) in zip(panels, grids.items(), strict=False):
            side = min(pixels.shape[:2])
            panel.imshow(pixels[:side, :side], interpolation="nearest")
            panel.set_title(printable(name), fontsize=10, wrap=True)
