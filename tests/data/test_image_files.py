"""Image files without classes, from folders and zip files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastdfkd.data.image_files import image_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three grey images of 8 x 8 pixels in two depths, and a text."""
    place = tmp_path / "images"
    (place / "deeper").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.png", "deeper/c.png")):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(place / name)
    (place / "readme.txt").write_text("no image")
    return place


def test_all_images_in_the_order_of_their_names(folder: Path) -> None:
    images = image_files(folder, (1, 8, 8), "bank.start_from")
    assert images.shape == (3, 1, 8, 8)
    assert images[:, 0, 0, 0].tolist() == [10, 0, 20]


def test_a_zip_file_has_the_same_images(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    images = image_files(packed, (1, 8, 8), "bank.start_from")
    assert images.tolist() == image_files(folder, (1, 8, 8), "bank.start_from").tolist()


def test_they_are_resized_and_coloured(folder: Path) -> None:
    images = image_files(folder, (3, 12, 10), "bank.start_from")
    assert images.shape == (3, 3, 12, 10)
    assert images[2].unique().tolist() == [20]


def test_no_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"bank.start_from: expected the folder of a run.*1 files"):
        image_files(tmp_path, (1, 8, 8), "bank.start_from")
    with pytest.raises(ValueError, match=r"bank.start_from: .*gone.*does not exist"):
        image_files(tmp_path / "gone", (1, 8, 8), "bank.start_from")


def test_a_broken_or_tiny_image_is_named(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(ValueError, match=r"bank.start_from.*1 of 4 images.*broken\.png"):
        image_files(folder, (1, 8, 8), "bank.start_from")
    assert len(image_files(folder, (1, 8, 8), "bank.start_from", 0.3)) == 3
    with pytest.raises(ValueError, match=r"8 x 8 pixels \(width x height\).*224 x 224"):
        image_files(folder, (1, 224, 224), "bank.start_from")
