"""What an image description refuses, and what it gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.task_kind import Classification, Segmentation


def spec(**changes: Any) -> ImageSpec:
    values: dict[str, Any] = {
        "name": "x",
        "shape": (3, 4, 5),
        "num_classes": 2,
        "class_names": ("cat", "dog"),
        "mean": (0.1, 0.2, 0.3),
        "std": (0.5, 0.25, 1.0),
    }
    return ImageSpec(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (3, 0, 5)}, r"shape: expected \(C, H, W\), each at least 1, got \(3, 0, 5\)"),
        ({"shape": (32, 32)}, r"shape: expected \(C, H, W\)"),
        ({"num_classes": 1, "class_names": ()}, "classes: expected at least 2, got 1"),
        ({"num_classes": 3}, "class names: expected 3, one for each class, got 2"),
        ({"mean": (0.1, 0.2)}, "mean: expected 3 numbers, one for each channel, got 2"),
        ({"std": (1.0,)}, "std: expected 3 numbers, one for each channel, got 1"),
        ({"std": (0.5, 0.0, 0.5)}, "std: expected numbers above 0"),
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(**changes)


def test_classes_need_no_names() -> None:
    assert spec(class_names=(), num_classes=1001).num_classes == 1001


def test_the_normalisation_is_that_of_mean_and_deviation() -> None:
    images = torch.rand(2, 3, 4, 5)
    normalised = spec().normalisation("cpu")(images)
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.5, 0.25, 1.0), strict=True)):
        torch.testing.assert_close(normalised[:, channel], (images[:, channel] - mean) / std)


def test_equal_fields_are_equal_images() -> None:
    assert spec() == spec()
    assert len({spec(), spec(), spec(mean=(0.0, 0.2, 0.3)), spec(name="y")}) == 3


def test_the_task_gives_the_kind() -> None:
    assert spec().kind == Classification(2)
    assert spec(task="segmentation").kind == Segmentation(2)


def test_only_another_task_than_classification_is_among_the_facts() -> None:
    assert "task" not in spec().facts()
    assert spec(task="segmentation").facts()["task"] == "segmentation"


def test_the_label_of_void_is_no_class() -> None:
    many = {"class_names": (), "task": "segmentation"}
    assert spec(num_classes=255, **many).num_classes == 255
    with pytest.raises(ValueError, match="at most 255 for segmentation, because label 255 means"):
        spec(num_classes=256, **many)
