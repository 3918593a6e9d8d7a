"""Every kind of image becomes the pixels that the networks read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from fastdfkd.data.decoding import Geometry, Unreadable, image_from_array, open_image, pixels_of
from tests.data.image_files import content

PLAIN = Geometry(size=(4, 4))
RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> Image.Image:
    small = RNG.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (61, 61)])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic", "nearest", "lanczos"])
def test_resize_and_crop_are_torchvisions(size: tuple[int, int], kind: str) -> None:
    image = noise(*size)
    mode = InterpolationMode(kind)
    expected = v2.CenterCrop(28)(v2.Resize(40, interpolation=mode)(image))
    found = Geometry(size=(28, 28), resize=40, crop=(28, 28), interpolation=kind)(image)  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(found), np.asarray(expected))


def test_by_default_an_image_covers_the_size_and_its_centre_is_kept() -> None:
    image = Image.new("RGB", (60, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    pixels = pixels_of(image, 3, Geometry(size=(10, 10)))
    assert pixels.shape == (3, 10, 10)
    assert pixels[2, :, 1:-1].min() == 255
    assert pixels[0, :, 1:-1].max() == 0


def test_both_sides_may_be_given_and_a_crop_is_resized_at_last() -> None:
    image = noise(40, 60)
    exact = Geometry(size=(10, 20), resize=(10, 20))(image)
    assert np.array_equal(
        np.asarray(exact), np.asarray(image.resize((20, 10), Image.Resampling.BILINEAR))
    )
    cropped = Geometry(size=(8, 8), crop=(32, 32))(image)
    expected = image.crop((14, 4, 46, 36)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(cropped), np.asarray(expected))


def test_an_image_smaller_than_the_crop_is_enlarged() -> None:
    assert Geometry(size=(8, 8), crop=(16, 16))(noise(10, 30)).size == (8, 8)


@pytest.mark.parametrize("side", [1, 2])
def test_images_without_content_are_refused(side: int) -> None:
    with pytest.raises(Unreadable, match=f"it has {side} x {side} pixels"):
        pixels_of(Image.new("RGB", (side, side)), 3, Geometry(size=(32, 32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation: int) -> None:
    """The file holds an image whose top left corner is white once it is turned."""
    upright = np.zeros((4, 4), np.uint8)
    upright[0, 0], upright[0, 3] = 255, 128
    back = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright.T, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = content(Image.fromarray(np.ascontiguousarray(back)), exif=exif)
    assert np.array_equal(pixels_of(open_image(file), 1, PLAIN)[0], upright)


def grey(value: int) -> Image.Image:
    return Image.new("L", (4, 4), value)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (grey(70), "PNG", (70, 70, 70)),
        (Image.new("1", (4, 4), 1), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (10, 20, 30, 0)), "PNG", (10, 20, 30)),
        (Image.new("LA", (4, 4), (9, 100)), "PNG", (9, 9, 9)),
        (Image.new("RGB", (4, 4), (1, 2, 3)).quantize(4), "PNG", (1, 2, 3)),
        (Image.new("RGB", (4, 4), (1, 2, 3)).quantize(4), "GIF", (1, 2, 3)),
        (Image.fromarray(np.full((4, 4), 65_535, np.uint16)), "PNG", (255, 255, 255)),
        (Image.fromarray(np.full((4, 4), 257 * 70 + 3, np.uint16)), "TIFF", (70, 70, 70)),
        (Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "TIFF", (255, 255, 255)),
    ],
    ids=["grey", "bits", "alpha", "grey-alpha", "palette", "gif", "16-bit", "tiff-16", "cmyk"],
)
def test_every_mode_becomes_rgb(image: Image.Image, kind: str, expected: tuple[int, ...]) -> None:
    pixels = pixels_of(open_image(content(image, kind)), 3, PLAIN)
    assert pixels.dtype == np.uint8
    assert pixels[:, 2, 2].tolist() == list(expected)


def test_colours_become_grey_by_their_luma() -> None:
    assert pixels_of(Image.new("RGB", (4, 4), (255, 0, 0)), 1, PLAIN)[0, 0, 0] == 76


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(Unreadable, match="floating-point"):
        pixels_of(Image.new("F", (4, 4), 0.5), 3, PLAIN)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3), (3, 6, 5), (1, 6, 5)])
def test_arrays_of_every_layout(shape: tuple[int, ...]) -> None:
    array = torch.randint(0, 256, shape, dtype=torch.uint8).numpy()
    image = image_from_array(array)
    assert image.size == (5, 6)
    channels = 1 if 1 in shape or len(shape) == 2 else 3
    found = pixels_of(image, channels, Geometry(size=(6, 5)))
    first = array if array.ndim == 2 else array[..., 0] if shape[-1] < 4 else array[0]
    assert np.array_equal(found[0], first)
