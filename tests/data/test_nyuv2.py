"""NYU Depth V2: a small file of the true format, and the published maps where they lie at hand."""

from __future__ import annotations

import builtins
import pickle
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data import complete_spec, data_source, nyuv2, own_files
from fastdfkd.data.images import Images
from fastdfkd.data.nyuv2_labels import label_table, scene_numbers
from fastdfkd.recipe import DataSection, InputSection, RecipeError
from tests.data.image_files import content
from tests.data.nyu_files import HEIGHT, TEST, TRAIN, WIDTH, small_maps, small_scenes

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "nyuv2"
NAMES_13, NAMES_40 = nyuv2.NYUV2.label_sets


def spec_of(classes: int | None = None, **keys: Any) -> ImageSpec:
    source = data_source(DataSection(name="nyuv2"))
    return complete_spec(source.stated, InputSection(shape=(3, 16, 16), classes=classes, **keys))


def opened(root: Path, split: Any = "test", classes: int = 13, **keys: Any) -> Images | None:
    keys = {"resize": (HEIGHT, WIDTH), **keys}
    section = DataSection(name="nyuv2", root=str(root), **keys)
    return own_files.own_images(section, split, spec_of(classes))


def said_by(root: Path, **keys: Any) -> str:
    with pytest.raises(ValueError, match=r".") as info:
        opened(root, **keys)
    return str(info.value)


@pytest.mark.parametrize("classes", [13, 40])
@pytest.mark.parametrize(("split", "numbers"), [("train", TRAIN), ("test", TEST)])
def test_the_labelled_scenes(tmp_path: Path, classes: int, split: str, numbers: list[int]) -> None:
    small_maps(tmp_path)
    images, labels = small_scenes(tmp_path)
    found = opened(tmp_path, split, classes)
    assert found is not None
    pixels, maps = next(found.batches(9))
    rows = [number - 1 for number in numbers]
    assert torch.equal(pixels, torch.from_numpy(images[rows]).permute(0, 3, 1, 2))
    for (scene, row, column), label in np.ndenumerate(labels[rows]):
        to_40 = int(label) % 40 + 1
        one = to_40 % 13 + 1 if classes == 13 else to_40
        assert maps[scene, row, column] == (one - 1 if label else 255)


def test_the_short_side_is_256_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    small_maps(tmp_path)
    small_scenes(tmp_path)
    found = opened(tmp_path, resize=None)
    assert found is not None
    pixels, maps = next(found.batches(1))
    assert (pixels.shape, maps.shape) == ((1, 3, 256, 341), (1, 256, 341))
    found = opened(tmp_path, resize=None, crop=(16, 20))
    assert found is not None
    assert next(found.batches(1))[0].shape == (1, 3, 16, 20)


def test_what_is_known_of_the_images() -> None:
    spec = complete_spec(data_source(DataSection(name="nyuv2")).stated, InputSection())
    assert (spec.shape, spec.num_classes, spec.task) == ((3, 128, 128), 13, "segmentation")
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert spec.class_names[:3] == ("bed", "books", "ceiling")
    assert spec_of(40).class_names[:3] == ("wall", "floor", "cabinet")
    with pytest.raises(RecipeError, match=r"input.classes: 12 classes, but nyuv2 has 13 or 40"):
        spec_of(12)


def test_scenes_are_read_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_maps(tmp_path)
    images, _ = small_scenes(tmp_path)
    monkeypatch.setattr(own_files, "IN_MEMORY_BYTES", 0)
    read: list[int] = []
    stored = nyuv2.Scenes._stored
    monkeypatch.setattr(
        nyuv2.Scenes, "_stored", lambda self, *what: (read.append(what[1]), stored(self, *what))[1]
    )
    found = opened(tmp_path)
    assert found is not None
    assert len(found) == 3
    assert read == []
    pixels, _ = next(found.batches(2, torch.tensor([2])))
    assert set(read) == {2}
    assert torch.equal(pixels[0], torch.from_numpy(images[5]).permute(2, 0, 1))
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(next(again.batches(2, torch.tensor([2])))[0], pixels)
    assert again.digest() == found.digest()


def write_files(root: Path, void: int, first: int, classes: int = 13) -> torch.Tensor:
    """Scenes as image files; returns the maps as they are to be read."""
    rng = np.random.default_rng(0)
    expected = []
    for split in ("train", "test"):
        for number in range(2):
            labels = rng.integers(-1, classes, (HEIGHT, WIDTH))
            image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            values = np.where(labels < 0, void, labels + first).astype(np.uint8)
            for folder, array in (("image", image), (f"seg{classes}", values)):
                path = root / folder / split / f"{number:05}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content(Image.fromarray(array)))
            expected.append(torch.from_numpy(labels))
    maps = torch.stack(expected)
    maps[maps < 0] = 255
    return maps


@pytest.mark.parametrize("classes", [13, 40])
@pytest.mark.parametrize("keys", [{}, {"void": 255, "first_label": 0}])
def test_scenes_in_image_files(tmp_path: Path, classes: int, keys: dict[str, int]) -> None:
    """Files hold 0 for none and classes from 1 as published, or what the recipe says."""
    maps = write_files(tmp_path, keys.get("void", 0), keys.get("first_label", 1), classes)
    for split, expected in (("train", maps[:2]), ("test", maps[2:])):
        found = opened(tmp_path, split, classes, **keys)
        assert found is not None
        assert torch.equal(next(found.batches(2))[1], expected)


def test_image_files_of_the_other_form_are_noticed(tmp_path: Path) -> None:
    write_files(tmp_path, 255, 0)
    said = said_by(tmp_path)
    assert "expected values from 1 to 13, because there are 13 classes, and 0 for void" in said
    assert "got 255" in said
    assert "data.void and data.first_label" in said


def test_missing_files_are_named(tmp_path: Path) -> None:
    said = said_by(tmp_path)
    assert f"expects in data.root either {nyuv2.SCENES} or the folders image and seg13" in said
    small_scenes(tmp_path)
    assert "expected the published file classMapping40.mat next to" in said_by(tmp_path)
    small_maps(tmp_path)
    (tmp_path / "class13Mapping.mat").unlink()
    assert "class13Mapping.mat does not exist" in said_by(tmp_path)
    assert opened(tmp_path, classes=40) is not None


def test_damaged_files_are_named(tmp_path: Path) -> None:
    small_maps(tmp_path)
    small_scenes(tmp_path)
    whole = (tmp_path / nyuv2.SCENES).read_bytes()
    (tmp_path / nyuv2.SCENES).write_bytes(whole[: len(whole) // 2])
    assert "it is cut off or damaged" in said_by(tmp_path)
    small_scenes(tmp_path, count=3)
    assert "splits.mat names scene 6, expected at least as many scenes, found 3" in said_by(
        tmp_path
    )
    with h5py.File(tmp_path / nyuv2.SCENES, "w") as file:
        file["images"], file["labels"] = np.zeros((6, 3, 4, 4)), np.zeros((6, 4, 4), np.uint16)
    assert "expected images (N, 3, width, height) uint8" in said_by(tmp_path)
    for name in ("splits.mat", "classMapping40.mat", "class13Mapping.mat"):
        small_maps(tmp_path)
        small_scenes(tmp_path)
        savemat(tmp_path / name, {"other": [1]})
        said = said_by(tmp_path)
        assert f"data ({tmp_path / name}): expected" in said
        assert "it holds something else" in said
        (tmp_path / name).write_bytes(b"no MATLAB file")
        assert "cannot be read as a MATLAB file" in said_by(tmp_path)


def test_labels_beyond_the_maps_are_named(tmp_path: Path) -> None:
    small_maps(tmp_path)
    small_scenes(tmp_path)
    with h5py.File(tmp_path / nyuv2.SCENES, "r+") as file:
        file["labels"][3, 0, 0] = 900
    assert "label map of scene 4: expected labels from 0 to 894" in said_by(tmp_path)


def test_without_h5py_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_maps(tmp_path)
    small_scenes(tmp_path)
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "h5py":
            raise ImportError("no module")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'fastdfkd[segmentation]'" in said_by(tmp_path)


needs_maps = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"needs {PUBLISHED}")


@needs_maps
def test_the_published_splits() -> None:
    train, test = (scene_numbers(PUBLISHED, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (795, 654)
    assert sorted([*train, *test]) == list(range(1449))
    assert test[:2].tolist() == [0, 1]


@needs_maps
def test_the_published_label_maps() -> None:
    """Classes that have the name of a label contain it; the 40 become 13 as published."""
    from scipy.io import loadmat

    names = [name[0] for name in loadmat(PUBLISHED / "classMapping40.mat")["allClassName"][0]]
    to_40, to_13 = label_table(PUBLISHED, 40), label_table(PUBLISHED, 13)
    assert (to_40[0], to_13[0], len(to_40)) == (255, 255, 895)
    assert (to_40[1:].max(), to_13[1:].max()) == (39, 12)
    shared = set(names) & set(NAMES_40)
    assert len(shared) > 30
    assert all(NAMES_40[to_40[names.index(name) + 1]] == name for name in shared)
    pairs = {NAMES_40[a]: NAMES_13[b] for a, b in zip(to_40[1:], to_13[1:], strict=True)}
    assert len(pairs) == 40
    assert {
        name: pairs[name] for name in ("wall", "cabinet", "bookshelf", "floor mat", "lamp")
    } == {
        "wall": "wall",
        "cabinet": "furniture",
        "bookshelf": "furniture",
        "floor mat": "floor",
        "lamp": "objects",
    }


@needs_maps
def test_all_scenes_with_the_published_maps(tmp_path: Path) -> None:
    for file in PUBLISHED.iterdir():
        shutil.copy(file, tmp_path)
    count, side = 1449, 16
    labels = np.random.default_rng(0).integers(0, 895, (count, side, side), dtype=np.uint16)
    with h5py.File(tmp_path / nyuv2.SCENES, "w") as file:
        file["images"] = np.zeros((count, 3, side, side), np.uint8)
        file["labels"] = labels
    total = 0
    for split, number in (("train", 795), ("test", 654)):
        found = opened(tmp_path, split, resize=(side, side))
        assert found is not None
        assert len(found) == number
        total += sum(int((maps == 255).sum()) for _, maps in found.batches(200))
    assert total == (labels == 0).sum()
