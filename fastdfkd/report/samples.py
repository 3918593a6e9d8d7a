"""A picture of synthesised images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdfkd.runs.files import write_whole

_MIN_SIDE = 64  # pixels of an image's longer side in the grid, at least
_GAP = 1
_COLUMNS = 16
_BACKGROUND = 255


def save_grid(images: Any, path: str | Path, columns: int = _COLUMNS) -> None:
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
    zoom = _zoom(height, width)
    pixels = pixels.repeat(zoom, axis=2).repeat(zoom, axis=3)
    across = min(columns, count)
    down = -(-count // across)
    step_y, step_x = height * zoom + _GAP, width * zoom + _GAP
    sheet = np.full(
        (channels, down * step_y - _GAP, across * step_x - _GAP), _BACKGROUND, dtype=np.uint8
    )
    for image, (top, left) in zip(pixels, _corners(count, columns, step_y, step_x), strict=True):
        sheet[:, top : top + height * zoom, left : left + width * zoom] = image
    picture = sheet[0] if channels == 1 else np.ascontiguousarray(sheet.transpose(1, 2, 0))
    content = BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    write_whole(Path(path), content.getvalue())


def tiles(
    path: str | Path, shape: Sequence[int], count: int, columns: int = _COLUMNS
) -> list[Image.Image]:
    """The images of a grid that `save_grid` wrote, in their own size.

    Args:
        path: the PNG.
        shape: (C, H, W) of the images.
        count: N, their number.
        columns: number of images per row.

    Raises:
        OSError: the file is missing or damaged.
        ValueError: its size is not that of such a grid.
    """
    _, height, width = shape
    zoom = _zoom(height, width)
    step_y, step_x = height * zoom + _GAP, width * zoom + _GAP
    wanted = (min(columns, count) * step_x - _GAP, -(-count // columns) * step_y - _GAP)
    with _opened(path) as sheet:
        if sheet.size != wanted:
            raise ValueError(f"{path}: expected a picture of {wanted} pixels, got {sheet.size}")
        corners = _corners(count, columns, step_y, step_x)
        boxes = [(x, y, x + width * zoom, y + height * zoom) for y, x in corners]
        return [sheet.crop(box).resize((width, height), Image.Resampling.NEAREST) for box in boxes]


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """A PNG; what Pillow raises for a damaged one, many types, becomes an OSError."""
    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            yield sheet
    except (ValueError, OSError):
        raise
    except Exception as error:
        raise OSError(f"{path}: damaged picture ({error})") from error


def _zoom(height: int, width: int) -> int:
    return max(1, -(-_MIN_SIDE // max(height, width)))


def _corners(count: int, columns: int, step_y: int, step_x: int) -> Iterator[tuple[int, int]]:
    """Top and left of each image of a grid, in pixels."""
    for index in range(count):
        yield index // columns * step_y, index % columns * step_x


def _checked(images: Any) -> npt.NDArray[np.uint8]:
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or array.dtype != np.uint8 or not len(array):
        raise ValueError(
            "a sample grid takes uint8 images of shape (N, 1 or 3, H, W) with N at least 1, "
            f"got {array.dtype} {array.shape}"
        )
    return array
