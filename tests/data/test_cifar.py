"""CIFAR is never downloaded: torchvision's own reader is given a tiny forged copy."""

import hashlib
import pickle
import tarfile

import numpy as np
import pytest
import torch
from torchvision import datasets

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data import data_source
from fastdfkd.recipe import DataSection

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9]


def load(name, split, root=None):
    source = data_source(DataSection(name=name, root=root and str(root)))
    assert isinstance(source.stated, ImageSpec)
    return source.load(split, source.stated)


@pytest.fixture
def forged(tmp_path, monkeypatch):
    """CIFAR-100's layout with six images a split, and torchvision's checksums to match."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    batch = {"data": PIXELS.reshape(6, -1), "fine_labels": LABELS}
    kind = datasets.CIFAR100
    monkeypatch.setattr(kind, "train_list", [write("train", batch)])
    monkeypatch.setattr(kind, "test_list", [write("test", {**batch, "fine_labels": LABELS[::-1]})])
    name, digest = write("meta", {"fine_label_names": [str(label) for label in range(100)]})
    meta = {"filename": name, "key": "fine_label_names", "md5": digest}
    monkeypatch.setattr(kind, "meta", meta)
    return tmp_path


def test_images_and_labels_come_through(forged):
    train, test = load("cifar100", "train", forged), load("cifar100", "test", forged)
    assert torch.equal(train.images, torch.from_numpy(PIXELS))
    assert train.images.is_contiguous()
    assert train.labels.tolist() == LABELS
    assert test.labels.tolist() == LABELS[::-1]
    assert train.labels.dtype == torch.int64


@pytest.mark.parametrize("named", ["folder", "file"])
def test_the_archive_need_not_be_unpacked(forged, tmp_path_factory, named):
    folder = tmp_path_factory.mktemp("archive")
    archive = folder / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as content:
        content.add(forged / "cifar-100-python", "cifar-100-python")
    test = load("cifar100", "test", folder if named == "folder" else archive)
    assert torch.equal(test.images, torch.from_numpy(PIXELS))
    assert test.labels.tolist() == LABELS[::-1]
    assert [path.name for path in folder.iterdir()] == [archive.name]


def test_an_archive_that_is_cut_off_is_refused(forged, tmp_path_factory):
    archive = tmp_path_factory.mktemp("archive") / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as content:
        content.add(forged / "cifar-100-python", "cifar-100-python")
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(ValueError, match="missing or altered"):
        load("cifar100", "test", archive)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_root_has_to_be_set(name):
    with pytest.raises(
        ValueError, match=r"data.root: expected .* data.name is cifar10*; .*cs\.toronto\.edu"
    ):
        load(name, "test")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected the folder .*cifar-10-batches-py"):
        load("cifar10", "train", tmp_path)


def test_altered_files_are_refused(forged):
    (forged / "cifar-100-python" / "train").write_bytes(b"something else")
    with pytest.raises(ValueError, match="missing or altered"):
        load("cifar100", "train", forged)
