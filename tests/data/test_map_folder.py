"""Trees of images and label maps: pairs, splits, sizes, and everything that may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from fastdfkd.data import complete_spec, data_source, own_files, streaming
from fastdfkd.data.images import Images, LabelledImages
from fastdfkd.data.own_files import own_images
from fastdfkd.data.streaming import StreamedImages
from fastdfkd.recipe import DataSection, InputSection, RecipeError
from tests.data.image_files import content, map_spec, spec_of, tree, write_scenes, zipped


def opened(root: Path, split: Any = "test", **keys: Any) -> Images | None:
    spec = keys.pop("spec", map_spec())
    return own_images(DataSection(name="folder", root=str(root), **keys), split, spec)


def images_of(root: Path, split: Any = "test", **keys: Any) -> Images:
    found = opened(root, split, **keys)
    assert found is not None
    return found


def batch(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and maps, having checked that each pixel fits its class."""
    pixels, maps = next(images.batches(1000))
    assert (pixels.dtype, maps.dtype) == (torch.uint8, torch.int64)
    known = maps != 255
    assert torch.equal(pixels[:, 0].long()[known], 50 * maps[known])
    return pixels, maps


def said_by(root: Path, **keys: Any) -> str:
    with pytest.raises(ValueError, match=r".") as info:
        images_of(root, **keys)
    return str(info.value)


def test_images_and_maps_are_paired_by_name(tmp_path: Path) -> None:
    maps = write_scenes(tmp_path, ("b", "a", "deep/c"))
    images = images_of(tmp_path)
    assert isinstance(images, LabelledImages)
    assert images.labels.dtype == torch.uint8
    assert torch.equal(batch(images)[1], torch.tensor(np.stack([maps[1], maps[0], maps[2]])).long())
    assert images.notes == []


@pytest.mark.parametrize("prefix", ["", "some/wrapper/"])
def test_a_zip_of_trees(tmp_path: Path, prefix: str) -> None:
    write_scenes(tmp_path / "tree", ("test/a", "test/b"))
    file = zipped(tmp_path / "tree", tmp_path / "scenes.zip", prefix)
    assert len(batch(images_of(file))[1]) == 2


@pytest.mark.parametrize("form", ["{kind}/{split}", "{split}/{kind}"])
def test_splits_are_folders(tmp_path: Path, form: str) -> None:
    counts = {"train": 3, "val": 2, "test": 1}
    for split, count in counts.items():
        write_scenes(tmp_path / split, tuple("abc"[:count]))
        if form == "{kind}/{split}":
            for kind in ("images", "labels"):
                (tmp_path / kind).mkdir(exist_ok=True)
                (tmp_path / split / kind).rename(tmp_path / kind / split)
            (tmp_path / split).rmdir()
    assert len(images_of(tmp_path, "train")) == 3
    assert len(images_of(tmp_path)) == 1
    assert len(images_of(tmp_path, test="val")) == 2
    assert len(images_of(tmp_path, "train", train="val")) == 2


def test_without_splits_all_is_held_out(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a", "b"))
    assert opened(tmp_path, "train") is None
    assert len(images_of(tmp_path)) == 2


def test_a_split_may_be_missing(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("train/a",))
    assert opened(tmp_path) is None
    assert len(images_of(tmp_path, "train")) == 1
    write_scenes(tmp_path / "other", ("b",))
    assert len(images_of(tmp_path, test="other")) == 1
    assert "data.test: expected a folder or a zip file" in said_by(tmp_path, test="nothing")


def test_the_folders_may_have_other_names(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    (tmp_path / "labels").rename(tmp_path / "masks")
    said = said_by(tmp_path)
    assert "data.labels: expected the folder labels in" in said
    assert "found the folders images, masks" in said
    assert len(images_of(tmp_path, labels="masks")) == 1
    (tmp_path / "in").mkdir()
    (tmp_path / "images").rename(tmp_path / "in" / "RGB")
    assert "data.images: expected the folder images in" in said_by(tmp_path, labels="masks")
    assert len(images_of(tmp_path, images="in/RGB", labels="masks")) == 1


def test_folders_of_classes_are_no_maps(tmp_path: Path) -> None:
    assert "one of images and one of label maps" in said_by(tree(tmp_path))


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_files_without_a_partner_are_named_and_counted(tmp_path: Path, kind: str) -> None:
    write_scenes(tmp_path, tuple(f"{number:02}" for number in range(9)))
    (tmp_path / kind / "04.png").unlink()
    what = "1 of 9 label maps have no image" if kind == "images" else "1 of 9 images have no label"
    said = said_by(tmp_path)
    assert what in said
    assert "are skipped: 04.png. At most 1.00% may be without a partner" in said
    images = images_of(tmp_path, broken_share=0.2)
    assert len(images) == 8
    assert what in images.notes[0]


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    (tmp_path / "images" / "a.jpg").write_bytes(b"x")
    assert "a.jpg and a.png have the same name" in said_by(tmp_path)


def test_maps_in_jpeg_are_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    (tmp_path / "labels" / "a.png").rename(tmp_path / "labels" / "a.jpg")
    said = said_by(tmp_path)
    assert "expected label maps (.png, .pgm" in said
    assert "JPEG alters the values" in said


def test_a_map_of_another_size_is_a_broken_image(tmp_path: Path) -> None:
    write_scenes(tmp_path, tuple("abcdefgh"))
    (tmp_path / "labels" / "c.png").write_bytes(content(Image.new("L", (8, 6))))
    said = said_by(tmp_path)
    assert "1 of 8 images cannot be read and are skipped: c.png (it has 8 x 8 pixels" in said
    assert "its label map 8 x 6" in said
    assert len(images_of(tmp_path, broken_share=0.2)) == 7


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_broken_files_are_skipped(tmp_path: Path, kind: str) -> None:
    maps = write_scenes(tmp_path, tuple("abcdefgh"))
    (tmp_path / kind / "c.png").write_bytes(b"no image")
    why = "its label map: it is no image" if kind == "labels" else "it is no image"
    assert f"are skipped: c.png ({why}" in said_by(tmp_path)
    images = images_of(tmp_path, broken_share=0.2)
    assert torch.equal(batch(images)[1][2], torch.tensor(maps[3]).long())


def test_a_value_that_is_no_class_ends_it_and_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, tuple("abcdefgh"))
    (tmp_path / "labels" / "c.png").write_bytes(content(Image.new("L", (8, 8), 11)))
    said = said_by(tmp_path, broken_share=0.9)
    assert f"label map c.png of {tmp_path / 'labels'}: expected values from 0 to 2" in said
    assert "got 11 (first in row 0, column 0)" in said
    pixels, maps = batch(images_of(tmp_path, void=11))
    assert (maps[2] == 255).all()
    assert len(pixels) == 8


def test_maps_in_colour_are_an_error(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    (tmp_path / "labels" / "a.png").write_bytes(content(Image.new("RGB", (8, 8))))
    assert "label map a.png of" in (said := said_by(tmp_path))
    assert "expected one channel" in said


def turned(path: Path, orientation: int) -> None:
    """Have an image file say that its pixels are to be turned."""
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(content(image, exif=exif))


def test_an_image_that_is_to_be_turned_has_the_size_of_its_map(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",), size=(10, 8))
    (tmp_path / "images" / "a.png").write_bytes(
        content(Image.open(tmp_path / "images" / "a.png").rotate(90, expand=True))
    )
    turned(tmp_path / "images" / "a.png", 6)  # 90 degrees clockwise
    batch(images_of(tmp_path))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"resize": 12},
        {"resize": (16, 20)},
        {"crop": 16},
        {"resize": 24, "crop": (12, 20)},
        {"crop": (10, 12)},
    ],
)
def test_image_and_map_stay_aligned(tmp_path: Path, keys: dict[str, Any]) -> None:
    """With nearest pixels, image and map are scaled and cut in the same places."""
    write_scenes(tmp_path, ("a", "b"), size=(20, 24))
    pixels, maps = batch(images_of(tmp_path, interpolation="nearest", **keys))
    assert len(maps.unique()) == 3
    smooth, again = next(images_of(tmp_path, interpolation="bilinear", **keys).batches(2))
    assert torch.equal(again, maps)  # maps are never averaged
    assert smooth.shape == pixels.shape


def test_images_keep_a_size_above_the_input(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",), size=(20, 24))
    for keys, size in (
        ({}, (8, 8)),
        ({"resize": (20, 24)}, (20, 24)),
        ({"resize": 16}, (8, 8)),
        ({"resize": 16, "crop": (16, 18)}, (16, 18)),
        ({"crop": 12}, (12, 12)),
    ):
        pixels, maps = batch(images_of(tmp_path, interpolation="nearest", **keys))
        assert (pixels.shape[2:], maps.shape[1:]) == (size, size)
    said = said_by(tmp_path, crop=6)
    assert "data.crop: expected a height and width of at least 8 x 8" in said


def test_classes_must_be_stated(tmp_path: Path) -> None:
    source = data_source(DataSection(name="folder", root=str(tmp_path)))
    form = {"task": "segmentation", "shape": (3, 8, 8), "normalisation": "half"}
    with pytest.raises(RecipeError, match=r"input.classes: is required"):
        complete_spec(source.stated, InputSection(**form))
    spec = complete_spec(source.stated, InputSection(**form, classes=("a", "b")))
    assert (spec.task, spec.class_names) == ("segmentation", ("a", "b"))


@pytest.mark.parametrize("name", ["npz", "npy", "parquet", "torchvision:SVHN"])
def test_other_forms_have_no_maps(tmp_path: Path, name: str) -> None:
    section = DataSection(name=name, root=str(tmp_path))
    with pytest.raises(ValueError, match=r"no labels for input.task: segmentation") as info:
        own_images(section, "test", map_spec())
    assert "expected folder or nyuv2" in str(info.value)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No set is small enough for memory, and each is worth two workers."""
    monkeypatch.setattr(own_files, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(own_files, "_opened", type(own_files._opened)())
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 3 * 8 * 8 * 3)
    monkeypatch.setattr(streaming, "_workers", lambda chunks, pixels: 2)


def test_a_stream_is_what_memory_holds(tmp_path: Path, workers: None) -> None:
    write_scenes(tmp_path / "tree", tuple("abcdefgh"))
    streamed = images_of(zipped(tmp_path / "tree", tmp_path / "a.zip"))
    assert isinstance(streamed, StreamedImages)
    held = streamed.in_memory()
    assert held.labels.dtype == torch.uint8
    order = torch.tensor([7, 0, 3, 3, 5])
    for rows in (None, order):
        pairs = zip(streamed.batches(3, rows), held.batches(3, rows), strict=True)
        assert all(torch.equal(*both) for pair in pairs for both in zip(*pair, strict=True))


def test_a_wrong_value_ends_the_workers(tmp_path: Path, workers: None) -> None:
    write_scenes(tmp_path, tuple("abcdefgh"))
    (tmp_path / "labels" / "h.png").write_bytes(content(Image.new("L", (8, 8), 9)))
    images = images_of(tmp_path)
    with pytest.raises(ValueError, match=r"label map h.png of .* got 9"):
        list(images.batches(3))
    assert not [child for child in psutil.Process().children() if "pt_data" in child.name()]


def test_the_digest_knows_maps_and_their_meaning(tmp_path: Path, workers: None) -> None:
    write_scenes(tmp_path, ("a", "b"))
    before = images_of(tmp_path).digest()
    assert images_of(tmp_path).digest() == before
    assert images_of(tmp_path, void=2).digest() != before
    assert images_of(tmp_path, first_label=1, void=0).digest() != before
    (tmp_path / "labels" / "a.png").write_bytes(content(Image.new("L", (8, 8))))
    assert images_of(tmp_path).digest() != before


def test_classification_reads_folders_of_classes_still(tmp_path: Path) -> None:
    tree(tmp_path)
    found = images_of(tmp_path, spec=spec_of())
    assert next(found.batches(9))[1].tolist() == [0, 0, 1, 1, 2, 2]
