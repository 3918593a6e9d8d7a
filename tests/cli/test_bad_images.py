"""Image files that cannot be used: one message, exit code 2, nothing written."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from fastdfkd.cli import commands as cli
from tests.data.image_files import NAMES, arrays, content, picture, tree, zipped

Make = Callable[[Path], Any]
RED = content(picture("red"))


def zip_with(name: str, data: bytes = RED, **more: bytes) -> Make:
    def make(folder: Path) -> None:
        zipped(tree(folder / "tree"), folder / "x.zip")
        with zipfile.ZipFile(folder / "x.zip", "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)

    return make


def zip_bomb(folder: Path) -> None:
    """One entry that unpacks to 300 MiB, from 300 kB."""
    zipped(tree(folder / "tree"), folder / "x.zip")
    with (
        zipfile.ZipFile(folder / "x.zip", "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("red/big.png", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(2**20))


def cut_off(folder: Path) -> None:
    file = zipped(tree(folder / "tree"), folder / "x.zip")
    file.write_bytes(file.read_bytes()[:-200])


def npz(**more: Any) -> Make:
    def make(folder: Path) -> None:
        pixels, labels = arrays()
        np.savez(folder / "x.npz", **{"images": pixels, "labels": labels, **more})

    return make


def pickled(folder: Path) -> None:
    (folder / "x.npz").write_bytes(pickle.dumps({"images": 1}))


def objects(folder: Path) -> None:
    pixels = np.empty(6, object)
    pixels[:] = [np.zeros((8, side, 3), np.uint8) for side in range(1, 7)]
    np.savez(folder / "x.npz", images=pixels, labels=arrays()[1])


def huge(folder: Path) -> None:
    """An array that says to have 2**40 images."""
    head = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 8, 8, 3)}
    np.lib.format.write_array_header_1_0(head, facts)
    npz()(folder)
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("images.npy", head.getvalue())
        archive.writestr("labels.npy", head.getvalue())


def parquet(**columns: Any) -> Make:
    def make(folder: Path) -> None:
        pq.write_table(pa.table(columns), folder / "x.parquet")

    return make


def one_pixel(folder: Path) -> None:
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "0.png").write_bytes(content(picture(name, (1, 1))))


def all_broken(folder: Path) -> None:
    for path in tree(folder).rglob("*.png"):
        path.write_bytes(b"no image")


def floating(folder: Path) -> None:
    tree(folder)
    for path in folder.rglob("*.png"):
        path.unlink()
        path.with_suffix(".tiff").write_bytes(content(Image.new("F", (8, 8)), "TIFF"))


def flat(folder: Path) -> None:
    for name in NAMES:
        (folder / f"{name}.png").write_bytes(content(picture(name)))


def nothing(folder: Path) -> None:
    """An empty folder."""


ZIP = {"name": "folder", "root": "data/x.zip"}
NPZ = {"name": "npz", "root": "data/x.npz"}
PARQUET = {"name": "parquet", "root": "data/x.parquet"}
FOLDER = {"name": "folder", "root": "data"}
IMAGE = [{"bytes": RED}] * 2
ROWS: dict[str, tuple[Make, dict[str, Any], list[str]]] = {
    "unknown form": (nothing, {"name": "foldr"}, ["did you mean folder?", "torchvision:CLASS"]),
    "no root": (nothing, {"name": "folder"}, ["data.root: is required with data.name: folder"]),
    "missing root": (nothing, {"name": "folder", "root": "gone"}, ["gone does not exist"]),
    "empty folder": (nothing, FOLDER, ["a folder for each class", "found 0 folders"]),
    "no class folders": (flat, FOLDER, ["a folder for each class", "found 0 folders"]),
    "missing split": (tree, {**FOLDER, "test": "later"}, ["data.test: ", "does not exist"]),
    "a class too many": (
        lambda folder: tree(folder, NAMES) and (folder / "other").mkdir(),
        FOLDER,
        ["expected 3 classes (blue, green, red), found 4 (blue, green, other, red)"],
    ),
    "another class": (
        lambda folder: (tree(folder) / "red").rename(folder / "rde"),
        FOLDER,
        ["expected the classes blue, green, red, but found rde", "did you mean red?"],
    ),
    "one pixel": (one_pixel, FOLDER, ["1 x 1 pixels", "too few"]),
    "all broken": (all_broken, FOLDER, ["6 of 6 images cannot be read", "data.broken_share"]),
    "floating point": (floating, FOLDER, ["floating-point numbers of unknown range"]),
    "absolute path": (zip_with("/etc/x.png"), ZIP, ["relative paths", "'/etc/x.png'"]),
    "path outside": (zip_with("red/../../x.png"), ZIP, ["relative paths", "outside the zip"]),
    "zip bomb": (zip_bomb, ZIP, ["would unpack to 314,572,800 bytes", "zip bomb"]),
    "cut off": (cut_off, ZIP, ["cannot be read as a zip", "cut off or damaged"]),
    "no zip": (
        lambda folder: (folder / "x.zip").write_bytes(RED),
        ZIP,
        ["expected a folder or a zip file", "cannot be read as a zip"],
    ),
    "folder missing in zip": (
        zip_with("red/9.png"),
        {**ZIP, "test": "later"},
        ["data.test: expected the folder later in", "blue, green, red"],
    ),
    "pickle": (pickled, NPZ, ["pickled objects, which are not opened"]),
    "pickled arrays": (objects, NPZ, ["array 'images'", "pickled objects"]),
    "huge array": (huge, NPZ, ["would take 211,106,232,532,992 bytes"]),
    "cut-off npz": (
        lambda folder: (npz()(folder), (folder / "x.npz").write_bytes(b"PK\x03\x04abc")),
        NPZ,
        ["a file of numpy.save or numpy.savez", "cut off or damaged"],
    ),
    "labels out of range": (
        npz(labels=np.array([0, 1, 2, 3, 0, 1])),
        NPZ,
        ["expected labels from 0 to 2", "got 0 to 3 (first in row 3)"],
    ),
    "labels from 1": (npz(labels=arrays()[1] + 1), NPZ, ["got 1 to 3", "subtract 1"]),
    "labels that are fractions": (npz(labels=arrays()[1] + 0.5), NPZ, ["whole numbers"]),
    "fewer labels": (npz(labels=np.zeros(4, int)), NPZ, ["expected 6 labels", "(4,)"]),
    "float images": (npz(images=arrays()[0] / 255), NPZ, ["type uint8", "float64 (6, 8, 8, 3)"]),
    "five channels": (npz(images=np.zeros((6, 8, 8, 5), np.uint8)), NPZ, ["1 or 3 channels"]),
    "no such arrays": (npz(), {**NPZ, "columns": ["a", "b"]}, ["data.columns", "images, labels"]),
    "other arrays": (
        lambda folder: np.savez(folder / "x.npz", a=1),
        NPZ,
        ["such as test_images", "found a", "data.columns"],
    ),
    "missing npy": (
        nothing,
        {"name": "npy", "root": "data"},
        ["data.test: expected the files", "test_images.npy"],
    ),
    "other columns": (parquet(a=[1], b=[2]), PARQUET, ["a column of images", "found a, b"]),
    "missing column": (
        parquet(image=IMAGE, label=[0, 1]),
        {**PARQUET, "columns": ["image", "kind"]},
        ["Set data.columns to the names", "found image, label"],
    ),
    "damaged parquet": (
        lambda folder: (folder / "x.parquet").write_bytes(b"PAR1abc"),
        PARQUET,
        ["cannot be read", "copy it again"],
    ),
    "parquet labels": (parquet(image=IMAGE, label=[0, 7]), PARQUET, ["labels from 0 to 2"]),
    "unlabelled rows": (parquet(image=IMAGE, label=[0, None]), PARQUET, ["1 of 2 have none"]),
    "no parquet": (nothing, {"name": "parquet", "root": "data"}, ["there are none in"]),
    "unknown class of torchvision": (
        nothing,
        {"name": "torchvision:SHVN", "root": "data"},
        ["did you mean SVHN?"],
    ),
    "not downloaded": (
        nothing,
        {"name": "torchvision:SVHN", "root": "data"},
        ["data.root: ", "data.download: true"],
    ),
    "crop larger than resize": (
        tree,
        {**FOLDER, "resize": 8, "crop": 9},
        ["crop (9) must not be larger than resize (8)"],
    ),
    "unknown interpolation": (
        tree,
        {**FOLDER, "interpolation": "cubic"},
        ["data.interpolation: expected one of nearest", "did you mean bicubic?"],
    ),
    "every file may be broken": (tree, {**FOLDER, "broken_share": 1}, ["number below 1"]),
    "no training images": (
        tree,
        FOLDER,
        ["folder, which has no training images: set teacher.weights", "data.train"],
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_one_message_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    make, data, parts = ROWS[case]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path / "home"))
    recipe = {
        "name": "bad",
        "data": data,
        "input": {"shape": [3, 16, 16], "classes": list(NAMES), "normalisation": "half"},
        "teacher": {"model": "resnet8-half"},
        "student": {"model": "resnet8-half"},
    }
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(recipe))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.run(["teacher", "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("fastdfkd: ")
    assert "Traceback" not in err
    assert out == ""
    assert not [part for part in parts if part not in " ".join(err.split())], err
    written = {path.name for path in tmp_path.iterdir()} - {"runs"}
    assert (sorted(written), list(tmp_path.glob("runs/*"))) == (before, [])
