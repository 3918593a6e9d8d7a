"""Real image files, where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdfkd.data import DATASETS, own_files
from fastdfkd.data.folder import FileRecords
from fastdfkd.data.own_files import own_images
from fastdfkd.data.streaming import StreamedImages
from fastdfkd.recipe import DataSection
from tests.data.image_files import map_spec, spec_of

SHARED = Path(__file__).parents[3] / "shared" / "data"
CAMVID = SHARED / "camvid_240x180.zip"
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
    records = images.examples.records
    assert isinstance(records, FileRecords)
    assert records.labels.tolist() == [row // 1000 for row in range(10_000)]
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


@pytest.mark.skipif(not CAMVID.is_file(), reason=f"needs {CAMVID}")
@pytest.mark.parametrize(("name", "count"), [("train", 367), ("val", 101), ("test", 233)])
def test_street_scenes_and_their_maps(name: str, count: int) -> None:
    spec = map_spec(11, (3, 180, 240))
    section = DataSection(name="folder", root=str(CAMVID), void=11, test=name)
    images = own_images(section, "test", spec)
    assert images is not None
    assert len(images) == count
    pixels, maps = next(images.batches(8))
    assert (pixels.shape, maps.shape) == ((8, 3, 180, 240), (8, 180, 240))
    assert set(maps.unique().tolist()) <= {*range(11), 255}
    assert 0 < (maps == 255).float().mean() < 0.2
