"""Real image files, where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdfkd.data import DATASETS, own_files
from fastdfkd.data.own_files import own_images
from fastdfkd.data.streaming import StreamedImages
from fastdfkd.recipe import DataSection
from tests.data.image_files import spec_of

SHARED = Path(__file__).parents[3] / "shared" / "data"
CIFAR, IMAGENET = SHARED / "cifar10_jpeg_test.zip", SHARED / "imagenet_sample_1000.zip"


@pytest.fixture(autouse=True)
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_files, "IN_MEMORY_BYTES", 0)


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"needs {CIFAR}")
def test_the_classes_of_cifar10_are_matched_by_name() -> None:
    spec = spec_of(DATASETS["cifar10"][0].class_names, (3, 32, 32))
    images = own_images(DataSection(name="folder", root=str(CIFAR)), "test", spec)
    assert isinstance(images, StreamedImages)
    assert len(images) == 10_000
    assert images.records.labels.tolist() == [row // 1000 for row in range(10_000)]
    assert images.notes[0].endswith("matched by name")
    pixels, labels = next(images.batches(20, torch.arange(0, 10_000, 500)))
    assert pixels.shape == (20, 3, 32, 32)
    assert labels.tolist() == [row // 2 for row in range(20)]


@pytest.mark.skipif(not IMAGENET.is_file(), reason=f"needs {IMAGENET}")
def test_photographs_are_matched_by_sorted_order_and_cropped() -> None:
    names = tuple(f"name of class {number:04}" for number in range(1000))
    section = DataSection(name="folder", root=str(IMAGENET), resize=256)
    images = own_images(section, "test", spec_of(names, (3, 224, 224)))
    assert isinstance(images, StreamedImages)
    assert "matched by sorted order, because no name fits: n01440764 is name of" in images.notes[0]
    order = torch.tensor([999, 0, 500])
    pixels, labels = next(images.batches(3, order))
    assert (pixels.shape, labels.tolist()) == ((3, 3, 224, 224), [999, 0, 500])
    assert pixels.float().std() > 30
    assert not images.broken
