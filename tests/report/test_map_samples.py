"""Pictures of images beside the maps of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastdfkd.report.map_samples import _sheet, class_colours, save_maps


def test_every_class_has_a_colour_of_its_own() -> None:
    colours = class_colours(40)
    assert colours.shape == (40, 3)
    assert len({tuple(colour) for colour in colours.tolist()}) == 40
    assert np.array_equal(class_colours(3), colours[:3])


def test_images_and_maps_stand_side_by_side() -> None:
    panels = [np.full((5, 4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    panels[1][4] = 99
    sheet = _sheet(panels)
    group = 3 * 6 + 2 * 2
    assert sheet.shape == (4 + 2 + 4, 3 * group + 2 * 8, 3)
    assert [int(sheet[0, x, 0]) for x in (0, 6, 8, 14, 16)] == [10, 255, 20, 255, 30]
    second_row = sheet[6:, group + 8 :, 0]
    assert second_row[0, 8] == 99, "image 4 is the second of the second row"
    assert (sheet[6:, 2 * (group + 8) :] == 255).all(), "there is no sixth image"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_has_the_maps_colours(channels: int, tmp_path: Path) -> None:
    images = np.zeros((2, channels, 8, 8), np.uint8)
    maps = {"teacher": np.zeros((2, 8, 8), np.int64), "student": np.ones((2, 8, 8), np.int64)}
    names = ["$sky", "道路", "never predicted"]
    save_maps(images, maps, names, tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    shown = [int((pixels == colour).all(1).sum()) for colour in class_colours(3)]
    assert min(shown[:2]) > 1000
    assert shown[2] == 0


def test_many_classes_and_large_images_fit(tmp_path: Path) -> None:
    maps = {"teacher": np.arange(40).repeat(30).reshape(1, 30, 40) % 40}
    names = [f"class number {number}" for number in range(40)]
    save_maps(np.zeros((1, 3, 30, 40), np.uint8), maps, names, tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > picture.height / 2
