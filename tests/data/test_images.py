"""Real images in memory, with classes and with maps of classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data import LabelledImages

VOID = 255


def spec(**changes: Any) -> ImageSpec:
    values: dict[str, Any] = {"name": "x", "shape": (3, 4, 6), "num_classes": 5, "mean": (0.5,) * 3}
    return ImageSpec(**{**values, "std": (0.5,) * 3, "task": "segmentation", **changes})


def maps(*shape: int, largest: int = 4) -> LabelledImages:
    labels = torch.full(shape, largest, dtype=torch.uint8)
    labels[0, 0, 0] = VOID
    return LabelledImages(torch.zeros(shape[0], 3, *shape[1:], dtype=torch.uint8), labels)


@pytest.mark.parametrize("sides", [(4, 6), (4, 9), (5, 6), (40, 60)])
def test_images_with_maps_may_be_larger(sides: tuple[int, int]) -> None:
    maps(2, *sides).check_fits(spec())


@pytest.mark.parametrize("sides", [(3, 6), (4, 5), (6, 4)])
def test_they_may_not_be_smaller(sides: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \[3, 4, 6\] or larger"):
        maps(2, *sides).check_fits(spec())


def test_images_with_classes_have_exactly_the_shape() -> None:
    images = LabelledImages(torch.zeros(2, 3, 5, 6, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"expected images of shape \[3, 4, 6\] \(channels"):
        images.check_fits(spec(task="classification"))


def test_labels_are_those_of_the_task() -> None:
    classes = LabelledImages(torch.zeros(2, 3, 4, 6, dtype=torch.uint8), torch.tensor([0, 1]))
    classes.check_fits(spec(task="classification"))
    with pytest.raises(ValueError, match=r"expected labels of shape \[2, 4, 6\], got \[2\]"):
        classes.check_fits(spec())
    with pytest.raises(ValueError, match="from 0 to 4, and 255 for void, got 5 to 5"):
        maps(2, 4, 6, largest=5).check_fits(spec())
    maps(1, 1, 1).check_fits(spec(shape=(3, 1, 1)))  # nothing but void


@pytest.mark.parametrize("order", [None, torch.tensor([2, 0, 1])])
def test_maps_are_read_as_int64(order: torch.Tensor | None) -> None:
    batches = list(maps(3, 4, 6).batches(2, order))
    assert [labels.shape for _, labels in batches] == [(2, 4, 6), (1, 4, 6)]
    assert {labels.dtype for _, labels in batches} == {torch.int64}
    place = 0 if order is None else 1
    assert torch.cat([labels for _, labels in batches])[place, 0, 0] == VOID
