from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastdfkd.report.samples import save_grid, tiles


def test_grey_images_keep_their_pixels(tmp_path: Path) -> None:
    images = torch.randint(256, (5, 1, 16, 16), dtype=torch.uint8)
    save_grid(images, tmp_path / "grid.png", columns=3)
    with Image.open(tmp_path / "grid.png") as picture:
        sheet = np.asarray(picture)
    assert sheet.shape == (2 * 64 + 1, 3 * 64 + 2)
    for index, image in enumerate(images.numpy()):
        top, left = index // 3 * 65, index % 3 * 65
        shown = sheet[top : top + 64, left : left + 64]
        assert np.array_equal(shown[::4, ::4], image[0])
        assert np.array_equal(shown[3::4, 3::4], image[0])
    assert (sheet[65:, 130:] == 255).all(), "the sixth cell is empty"


def test_colours_keep_their_order(tmp_path: Path) -> None:
    image = np.zeros((1, 3, 32, 32), np.uint8)
    image[0, 0], image[0, 1] = 200, 100
    save_grid(image, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        assert (sheet.mode, sheet.size) == ("RGB", (64, 64))
        assert sheet.getpixel((10, 10)) == (200, 100, 0)


def test_large_images_are_not_enlarged(tmp_path: Path) -> None:
    save_grid(np.zeros((2, 3, 100, 80), np.uint8), tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.size == (161, 100)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 1, 4, 4), np.uint8),
        np.zeros((2, 1, 4, 4), np.float32),
        np.zeros((2, 2, 4, 4), np.uint8),
        np.zeros((1, 4, 4), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"takes uint8 images of shape \(N, 1 or 3, H, W\)"):
        save_grid(images, tmp_path / "grid.png")
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_images_of_a_grid_are_found_again(channels: int, tmp_path: Path) -> None:
    images = torch.randint(256, (20, channels, 12, 16), dtype=torch.uint8)
    save_grid(images, tmp_path / "grid.png")
    found = tiles(tmp_path / "grid.png", (channels, 12, 16), 20)
    for image, tile in zip(images.numpy(), found, strict=True):
        pixels = np.asarray(tile).reshape(12, 16, channels)
        assert np.array_equal(pixels.transpose(2, 0, 1), image)


def test_a_damaged_picture_is_an_os_error(tmp_path: Path) -> None:
    images = torch.randint(256, (4, 1, 16, 16), dtype=torch.uint8)
    save_grid(images, tmp_path / "grid.png")
    whole = (tmp_path / "grid.png").read_bytes()
    for length in (0, 20, 60, len(whole) // 2):
        (tmp_path / "grid.png").write_bytes(whole[:length])
        with pytest.raises(OSError, match=r"(?i)grid|truncated|image"):
            tiles(tmp_path / "grid.png", (1, 16, 16), 4)


def test_a_picture_of_other_images_is_refused(tmp_path: Path) -> None:
    save_grid(np.zeros((4, 1, 16, 16), np.uint8), tmp_path / "grid.png")
    with pytest.raises(ValueError, match=r"expected a picture of \(324, 64\) pixels, got \(259"):
        tiles(tmp_path / "grid.png", (1, 16, 16), 5)
