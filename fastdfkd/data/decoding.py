"""From an image file to the pixels of a network's input: decoded, turned, resized, cropped."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Pixels = npt.NDArray[np.uint8]
MOST_ENLARGED = 16
"""An image that would have to be enlarged this many times or more has no content to judge on."""

_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class Unreadable(ValueError):
    """One image cannot be used. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How an image of any size becomes one of the size that the networks read.

    The order is resize, centre crop, and, only if the result has another size, a last resize. With
    `resize` and `crop` unset the image is scaled until it covers the size, and its centre is kept.
    The arithmetic is that of torchvision's `Resize` and `CenterCrop`.
    """

    size: tuple[int, int]
    """(H, W) of the result."""
    resize: int | tuple[int, int] | None = None
    """Length of the shorter side, or (height, width), before the crop."""
    crop: tuple[int, int] | None = None
    """(height, width) of the centre crop; None: `size`."""
    interpolation: Interpolation = "bilinear"

    def __call__(self, image: Image.Image) -> Image.Image:
        """Resize and crop.

        Raises:
            Unreadable: the image is far too small.
        """
        height, width = self.crop or self.size
        if image.width * MOST_ENLARGED <= width or image.height * MOST_ENLARGED <= height:
            raise Unreadable(
                f"it has {image.width} x {image.height} pixels (width x height), too few for "
                f"{width} x {height}"
            )
        if self.resize is not None:
            image = self._scaled(image, self.resize)
        elif self.crop is None:
            image = self._covering(image, height, width)
        if image.height < height or image.width < width:
            image = self._covering(image, height, width)
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        if (image.height, image.width) != (height, width):
            image = image.crop((left, top, left + width, top + height))
        return self._scaled(image, self.size)

    def _covering(self, image: Image.Image, height: int, width: int) -> Image.Image:
        """Scaled, with its proportions, to the smallest size that covers (height, width)."""
        scale = max(height / image.height, width / image.width)
        sides = (max(round(image.height * scale), height), max(round(image.width * scale), width))
        return self._scaled(image, sides)

    def _scaled(self, image: Image.Image, to: int | tuple[int, int]) -> Image.Image:
        if isinstance(to, int):
            short, long = sorted(image.size)
            sides = to, int(to * long / short)
            to = sides if image.height <= image.width else sides[::-1]
        height, width = to
        if image.size == (width, height):
            return image
        return image.resize((width, height), Image.Resampling[self.interpolation.upper()])


def pixels_of(image: Image.Image, channels: int, geometry: Geometry) -> Pixels:
    """The pixels (C, H, W) of an image.

    It is turned as its EXIF entry says. Palettes become colours, transparency is dropped (as
    torchvision's `ImageFolder` does), 16 bits a channel become 8, RGB becomes grey (ITU-R 601) or
    grey becomes RGB as `channels` (1 or 3) asks.

    Raises:
        Unreadable: the pixels are floating-point numbers, or far too few.
        OSError: the file is damaged.
    """
    image = upright(image)
    if image.mode in _SIXTEEN_BITS:
        image = _eight_bits(image)
    elif image.mode == "F":
        raise Unreadable("its pixels are floating-point numbers of unknown range")
    elif image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    image = geometry(image.convert("L" if channels == 1 else "RGB"))
    array = np.asarray(image)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def upright(image: Image.Image) -> Image.Image:
    """The image, decoded, and turned as its EXIF entry says.

    Raises:
        OSError: the file is damaged.
    """
    image.load()
    return ImageOps.exif_transpose(image)


def open_image(content: bytes) -> Image.Image:
    """The image in the bytes of a file; decoded only when its pixels are read.

    Raises:
        Unreadable: they are no image of a format that Pillow knows.
    """
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError:  # its message is the address of the bytes
        raise Unreadable("it is no image of a known format") from None


def image_from_array(array: npt.NDArray[Any]) -> Image.Image:
    """An image from an array of pixels (H, W), (H, W, C) or (C, H, W) uint8, C being 1 or 3."""
    if array.ndim == 3 and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(array.squeeze(2) if _grey(array) else array))


def _grey(array: npt.NDArray[Any]) -> bool:
    return array.ndim == 3 and array.shape[2] == 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits with 8 of them, 65,535 becoming 255."""
    deep = np.asarray(image).astype(np.int64)
    if deep.size and (deep.min() < 0 or deep.max() > 65_535):
        raise Unreadable(f"its pixels are from {deep.min()} to {deep.max()}, not 0 to 65,535")
    return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
