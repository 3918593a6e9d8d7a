"""Folders, zip files, arrays and torchvision's data sets give the same images."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from fastdfkd.data.own_files import form_of, own_images
from fastdfkd.recipe import DataSection
from tests.data.image_files import (
    NAMES,
    arrays,
    content,
    picture,
    spec_of,
    tree,
    zipped,
)
from tests.data.read_images import EACH_TWICE, images_of, names_in, said_by


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    images = images_of(tree(tmp_path))
    assert names_in(images) == EACH_TWICE
    assert images.notes == [f"data ({tmp_path}): classes matched by name"]


@pytest.mark.parametrize("prefix", ["", "some/wrapper/"])
def test_a_zip_of_folders(tmp_path: Path, prefix: str) -> None:
    file = zipped(tree(tmp_path / "tree"), tmp_path / "images.zip", prefix)
    assert names_in(images_of(file)) == EACH_TWICE


def test_splits_are_found_by_their_usual_names(tmp_path: Path) -> None:
    section = DataSection(name="folder", root=str(tmp_path))
    tree(tmp_path / "val", each=1)
    assert own_images(section, "train", spec_of()) is None
    tree(tmp_path / "train", each=3)
    assert len(images_of(tmp_path, split="train")) == 9
    assert len(images_of(tmp_path)) == 3
    tree(tmp_path / "test", each=2)
    assert len(images_of(tmp_path)) == 6
    file = zipped(tmp_path, tmp_path / "all.zip")
    assert len(images_of(file, split="train")) == 9
    assert len(images_of(file, test="val")) == 3


def test_splits_may_be_named(tmp_path: Path) -> None:
    tree(tmp_path / "held" / "out", each=1)
    zipped(tree(tmp_path / "more", each=3), tmp_path / "more.zip")
    assert len(images_of(tmp_path, test="held/out")) == 3
    assert len(images_of(tmp_path, split="train", train="more.zip")) == 9
    assert "data.test: expected a folder" in said_by(tmp_path, test="nothing")


def test_a_folder_without_splits_is_held_out_only(tmp_path: Path) -> None:
    section = DataSection(name="folder", root=str(tree(tmp_path)))
    assert own_images(section, "train", spec_of()) is None


def test_classes_are_matched_by_name_in_the_order_of_the_networks(tmp_path: Path) -> None:
    order = ("red", "blue", "green")
    images = images_of(tree(tmp_path), spec=spec_of(order))
    assert names_in(images, order) == EACH_TWICE
    assert images.notes[0].endswith("matched by name")


def test_names_may_differ_in_case_and_signs(tmp_path: Path) -> None:
    (tree(tmp_path) / "red").rename(tmp_path / "Deep_Red")
    images = images_of(tmp_path, spec=spec_of(("deep red", "blue", "green")))
    assert next(images.batches(6))[1].tolist() == [0, 0, 1, 1, 2, 2]


def test_else_by_sorted_order_and_it_is_said(tmp_path: Path) -> None:
    images = images_of(tree(tmp_path), spec=spec_of(("one", "two", "three")))
    assert next(images.batches(6))[1].tolist() == [0, 0, 1, 1, 2, 2]
    assert "matched by sorted order, because no name fits: blue is one" in images.notes[0]
    images = images_of(tmp_path, spec=spec_of(()))
    assert "because the networks' classes have no names: blue is 0" in images.notes[0]


def test_other_classes_are_an_error(tmp_path: Path) -> None:
    said = said_by(tree(tmp_path), spec=spec_of(("a", "b")))
    assert "expected 2 classes (a, b), found 3 (blue, green, red)" in said
    assert said.endswith("or leave out the others")
    said = said_by(tmp_path, spec=spec_of(("blue", "red")))
    assert said.endswith("or leave out the others: green")
    said = said_by(tmp_path, spec=spec_of(("blue", "green", "red", "white")))
    assert said.endswith("or add the missing folders (an empty one will do)")
    said = said_by(tmp_path, spec=spec_of(("blue", "green", "rad")))
    assert "expected the classes blue, green, rad, but found red (did you mean rad?)" in said


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        (
            "1.png",
            "0 images and 1 files in all. Put each image into a folder named after its class",
        ),
        ("test.parquet", "in .parquet: for those set data.name to parquet"),
        ("test_images.npy", "in .npy: for those set data.name to npz or npy"),
        ("readme.txt", "Set data.test to the path of the held-out images"),
    ],
)
def test_a_folder_of_something_else(tmp_path: Path, file: str, advice: str) -> None:
    (tmp_path / file).write_bytes(content(picture("red")))
    assert advice in said_by(tmp_path)


def test_other_files_and_hidden_ones_are_no_images(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "red" / "notes.txt").write_text("x")
    (tmp_path / "red" / ".hidden.png").write_bytes(b"x")
    (tmp_path / ".git" / "objects").mkdir(parents=True)
    assert names_in(images_of(tmp_path)) == EACH_TWICE


def test_links_are_followed_once(tmp_path: Path) -> None:
    tree(tmp_path / "real")
    (tmp_path / "real" / "red" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "links").mkdir()
    for name in NAMES:
        (tmp_path / "links" / name).symlink_to(tmp_path / "real" / name)
    assert len(images_of(tmp_path / "links")) >= 6


def test_broken_files_are_named_counted_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, each=4)
    whole = (tmp_path / "green" / "1.png").read_bytes()
    (tmp_path / "green" / "1.png").write_bytes(whole[:40])
    said = said_by(tmp_path)
    assert "1 of 12 images cannot be read and are skipped: green/1.png (" in said
    assert "At most 1.00% may be unreadable" in said
    images = images_of(tmp_path, broken_share=0.1)
    assert names_in(images).count("green") == 3
    assert len(images) == 11
    assert "1 of 12 images cannot be read" in images.notes[-1]
    assert "are skipped: green/1.png (" in caplog.text


def test_images_of_one_pixel_are_broken(tmp_path: Path) -> None:
    tree(tmp_path, each=1)
    for name in NAMES:
        (tmp_path / name / "0.png").write_bytes(content(picture(name, (1, 1))))
    said = said_by(tmp_path, spec=spec_of(shape=(3, 32, 32)), broken_share=0.99)
    assert "it has 1 x 1 pixels (width x height), too few for 32 x 32" in said


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "train_and_test", "medmnist"])
def test_npz(tmp_path: Path, layout: str) -> None:
    pixels, labels = arrays()
    file = tmp_path / "set.npz"
    if layout == "train_and_test":
        np.savez(file, x_train=pixels[:1], y_train=labels[:1], x_test=pixels, y_test=labels)
    elif layout == "medmnist":
        np.savez(file, test_images=pixels, test_labels=labels[:, None].astype(np.uint8))
    else:
        shaped = pixels.transpose(0, 3, 1, 2) if layout == "NCHW" else pixels
        np.savez(file, images=shaped, labels=labels.astype(float))
    assert names_in(images_of(file, "npz")) == EACH_TWICE
    train = own_images(DataSection(name="npz", root=str(file)), "train", spec_of())
    assert (train is None) == (layout != "train_and_test")


def test_npz_arrays_may_be_named_and_labels_may_be_one_hot(tmp_path: Path) -> None:
    pixels, labels = arrays()
    np.savez(tmp_path / "test.npz", pictures=pixels, kinds=np.eye(3)[labels])
    keys = {"columns": ("pictures", "kinds")}
    assert names_in(images_of(tmp_path, "npz", **keys)) == EACH_TWICE


def test_npy(tmp_path: Path) -> None:
    pixels, labels = arrays()
    np.save(tmp_path / "test_images.npy", pixels)
    np.save(tmp_path / "test_labels.npy", labels)
    assert names_in(images_of(tmp_path, "npy")) == EACH_TWICE
    assert own_images(DataSection(name="npy", root=str(tmp_path)), "train", spec_of()) is None


def test_pixels_on_disk_are_not_sent(tmp_path: Path) -> None:
    np.save(tmp_path / "test_images.npy", np.zeros((500, 32, 32, 3), np.uint8))
    np.save(tmp_path / "test_labels.npy", np.zeros(500, int))
    form = form_of("npy")
    assert form is not None
    found = form.readers["classification"](
        DataSection(name="npy", root=str(tmp_path)), "test", spec_of()
    )
    assert found is not None
    sent = pickle.dumps(found.records)
    assert len(sent) < 10_000
    assert pickle.loads(sent).image(499).size == (32, 32)


def fashion(root: Path) -> Path:
    """FashionMNIST's layout with six images."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, prefix in (("t10k", "t10k"), ("train", "train")):
        pixels = np.full((6, 28, 28), 200 if part == "train" else 100, np.uint8)
        head = np.array([2051, 6, 28, 28], ">i4").tobytes()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = np.arange(6, dtype=np.uint8)
        head = np.array([2049, 6], ">i4").tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return root


def test_torchvision(tmp_path: Path) -> None:
    spec = spec_of(tuple(datasets.FashionMNIST.classes), (1, 28, 28))
    for split, value in (("test", 100), ("train", 200)):
        images = images_of(fashion(tmp_path / split), "torchvision:FashionMNIST", split, spec=spec)
        pixels, labels = next(images.batches(10))
        assert pixels.shape == (6, 1, 28, 28)
        assert pixels.unique().tolist() == [value]
        assert labels.tolist() == list(range(6))
        assert images.notes[0].endswith("matched by name")


@pytest.mark.parametrize(
    ("name", "keys", "parts"),
    [
        ("FashionMINST", {}, ["did you mean FashionMNIST?", "allowed: "]),
        ("FashionMNIST", {}, ["data.root: ", "cannot be read", "data.download: true"]),
        ("SVHN", {}, ["data.root: ", "data.download: true"]),
        ("EMNIST", {}, ["data.arguments: ", "split"]),
        ("FashionMNIST", {"arguments": {"size": 3}}, ["data.arguments: ", "size"]),
        ("Flowers102", {"test": "nothing"}, ["data.test: ", "has no such split"]),
    ],
)
def test_what_torchvision_cannot_open(
    tmp_path: Path, name: str, keys: dict[str, Any], parts: list[str]
) -> None:
    said = said_by(tmp_path, f"torchvision:{name}", **keys)
    assert all(part in said for part in parts), said
