"""A picture of synthesised images beside the maps of classes that networks predict for them."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdfkd.report.drawing import picture
from fastdfkd.text.safe_text import printable

_ROWS, _GROUPS = 8, 3
_GAP = 2
_GROUP_GAP = 8
_INCHES = 9.0
_LEGEND_WIDTH = 100
_FEW = (
    *((86, 180, 233), (90, 90, 90), (0, 158, 115), (213, 94, 0)),
    *((0, 90, 50), (240, 228, 66), (0, 60, 178), (204, 121, 167)),
)
"""Colours of the first eight classes, after Okabe and Ito."""

Colours = npt.NDArray[np.uint8]


def class_colours(count: int) -> Colours:
    """A colour for each class, (count, 3) uint8: always the same one for a number."""
    rest = (
        colorsys.hsv_to_rgb(
            number * 0.618034 % 1, (0.5, 0.9)[number % 2], (1.0, 0.65)[number % 3 > 0]
        )
        for number in range(count - len(_FEW))
    )
    colours = [*_FEW, *(tuple(round(255 * share) for share in colour) for colour in rest)]
    return np.array(colours[:count], np.uint8)


def save_maps(images: Any, maps: Mapping[str, Any], names: Sequence[str], path: str | Path) -> None:
    """Write images and maps as a PNG, with a legend of the classes that occur.

    Each image is followed by its maps, in the order of `maps`; at most 24 images are shown.

    Args:
        images: (N, C, H, W) uint8 array, C = 1 or 3, N at least 1.
        maps: classes (N, H, W) by what the heading calls their network.
        names: of all classes, in the order of their numbers.
        path: file to write.
    """
    pixels = np.asarray(images[: _ROWS * _GROUPS]).transpose(0, 2, 3, 1)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    classes = {name: np.asarray(found)[: len(pixels)] for name, found in maps.items()}
    colours = class_colours(len(names))
    panels = [pixels, *(colours[found] for found in classes.values())]
    sheet = _sheet(panels)
    seen = sorted({int(number) for found in classes.values() for number in np.unique(found)})
    labels = [printable(names[number]) for number in seen]
    columns = max(1, _LEGEND_WIDTH // (max(map(len, labels), default=1) + 6))
    legend_height = 0.3 + 0.2 * -(-len(labels) // columns)
    height = _INCHES * sheet.shape[0] / sheet.shape[1] + 0.3 + legend_height
    with picture(Path(path), _INCHES, height) as axes:
        axes.imshow(sheet, interpolation="nearest")
        axes.axis("off")
        axes.set_title(f"synthetic images; each with the maps of {' and '.join(classes)}")
        from matplotlib.patches import Patch

        patches = [Patch(facecolor=colours[number] / 255) for number in seen]
        axes.figure.legend(
            patches,
            labels,
            frameon=False,
            fontsize=8,
            loc="outside lower center",
            ncols=min(columns, max(len(labels), 1)),
        )


def _sheet(panels: Sequence[Colours]) -> Colours:
    """Groups of an image and its maps in rows, (H', W', 3) on white."""
    count, height, width, _ = panels[0].shape
    groups = min(_GROUPS, count)
    rows = -(-count // groups)
    group_width = len(panels) * (width + _GAP) - _GAP
    sheet = np.full(
        (
            rows * (height + _GAP) - _GAP,
            groups * (group_width + _GROUP_GAP) - _GROUP_GAP,
            3,
        ),
        255,
        np.uint8,
    )
    for number in range(count):
        row, group = divmod(number, groups)
        for place, panel in enumerate(panels):
            top = row * (height + _GAP)
            left = group * (group_width + _GROUP_GAP) + place * (width + _GAP)
            sheet[top : top + height, left : left + width] = panel[number]
    return sheet
