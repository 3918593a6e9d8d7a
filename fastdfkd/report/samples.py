"""A picture of synthesised images."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdfkd.runs.files import write_whole

_MIN_SIDE = 64  # pixels of an image's longer side in the grid, at least
_GAP = 1
_BACKGROUND = 255


def save_grid(images: Any, path: str | Path, columns: int = 16) -> None:
    """Write images as a PNG grid. Each is enlarged by an integer factor to at least 64 pixels.

    Args:
        images: (N, C, H, W) uint8 tensor or array, C = 1 or 3, N at least 1.
        path: file to write.
        columns: number of images per row.

    Raises:
        ValueError: `images` has another shape or type.
    """
    pixels = _checked(images)
    count, channels, height, width = pixels.shape
    zoom = max(1, -(-_MIN_SIDE // max(height, width)))
    pixels = pixels.repeat(zoom, axis=2).repeat(zoom, axis=3)
    across = min(columns, count)
    down = -(-count // across)
    step_y, step_x = height * zoom + _GAP, width * zoom + _GAP
    sheet = np.full(
        (channels, down * step_y - _GAP, across * step_x - _GAP), _BACKGROUND, dtype=np.uint8
    )
    for index, image in enumerate(pixels):
        top, left = index // across * step_y, index % across * step_x
        sheet[:, top : top + height * zoom, left : left + width * zoom] = image
    picture = sheet[0] if channels == 1 else np.ascontiguousarray(sheet.transpose(1, 2, 0))
    content = BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    write_whole(Path(path), content.getvalue())


def _checked(images: Any) -> npt.NDArray[np.uint8]:
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or array.dtype != np.uint8 or not len(array):
        raise ValueError(
            "a sample grid takes uint8 images of shape (N, 1 or 3, H, W) with N at least 1, "
            f"got {array.dtype} {array.shape}"
        )
    return array
