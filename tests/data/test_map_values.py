"""Values of label maps become classes; whatever else they hold is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastdfkd.data.map_values import MapValues
from fastdfkd.data.records import WrongLabels


def classes_of(values: Any, meant: MapValues, mode: str | None = None) -> list[Any]:
    image = Image.fromarray(np.array(values))
    found = meant.classes_of(image if mode is None else image.convert(mode), "a.png")
    assert found.dtype == np.uint8
    rows: list[Any] = found.tolist()
    return rows


@pytest.mark.parametrize(
    ("values", "meant", "expected"),
    [
        ([[0, 1], [2, 255]], MapValues(3), [[0, 1], [2, 255]]),
        ([[0, 10], [11, 3]], MapValues(11, void=11), [[0, 10], [255, 3]]),
        ([[0, 1], [13, 7]], MapValues(13, void=0, first=1), [[255, 0], [12, 6]]),
        ([[0, 1], [2, 2]], MapValues(3, void=0), [[255, 1], [2, 2]]),  # class 0 counts nowhere
    ],
)
def test_values_become_classes(values: Any, meant: MapValues, expected: Any) -> None:
    assert classes_of(np.array(values, np.uint8), meant) == expected


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_values_may_have_more_bits(kind: type) -> None:
    values = np.array([[300, 301], [302, 65535]], kind)
    assert classes_of(values, MapValues(3, void=65535, first=300)) == [[0, 1], [2, 255]]


def test_a_palette_gives_its_indices() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8), "L")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    assert image.mode == "P"
    assert MapValues(3).classes_of(image, "a.png").tolist() == [[0, 1], [2, 255]]


def test_black_and_white_are_two_classes() -> None:
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert MapValues(2).classes_of(image, "a.png").tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("values", "meant", "said"),
    [
        ([[0, 1], [7, 2]], MapValues(3), "from 0 to 2, because there are 3 classes, and 255"),
        ([[0, 1], [7, 2]], MapValues(3), "got 7 (first in row 1, column 0)"),
        ([[0, 255]], MapValues(3, void=11), "and 11 for void, got 255"),
        ([[0, 1]], MapValues(3, first=1), "from 1 to 3"),
    ],
)
def test_other_values_are_named(values: Any, meant: MapValues, said: str) -> None:
    with pytest.raises(WrongLabels) as info:
        classes_of(np.array(values, np.uint8), meant)
    assert str(info.value).startswith("label map a.png: expected values ")
    assert said in str(info.value)
    assert "Set input.classes, data.void and data.first_label" in str(info.value)


def test_negative_and_huge_values_are_named() -> None:
    for value in (-1, 2**20):
        with pytest.raises(WrongLabels, match=f"got {value} "):
            classes_of(np.array([[0, value]], np.int32), MapValues(3))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F"])
def test_colours_are_no_classes(mode: str) -> None:
    with pytest.raises(WrongLabels) as info:
        classes_of(np.zeros((2, 2), np.uint8), MapValues(3), mode)
    assert f"got the mode {mode}" in str(info.value)
    assert "Write the number of the class of each pixel" in str(info.value)
