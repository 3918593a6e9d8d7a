"""Images in NumPy's files: arrays of an `.npz`, or two `.npy` files. Nothing is unpickled."""

from __future__ import annotations

import ast
import hashlib
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.decoding import image_from_array
from fastdfkd.data.images import Split
from fastdfkd.data.labels import checked_labels
from fastdfkd.data.places import DEFAULTS, needed_root
from fastdfkd.data.records import Found, IntArray
from fastdfkd.recipe import DataSection
from fastdfkd.text.shown import reason, shown

_IMAGES, _LABELS = ("images", "x", "data", "imgs"), ("labels", "y", "targets", "label")
_NAMES = ("{name}_{split}", "{split}_{name}")
_PREFIXES: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "valid")}
_MOST_BYTES = 2**36


@dataclass(frozen=True, eq=False)
class ArrayRecords:
    """Rows of an array of pixels (N, H, W), (N, H, W, C) or (N, C, H, W) uint8."""

    pixels: npt.NDArray[np.uint8]
    labels: IntArray
    stamp: str

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """The row's number."""
        return f"image {row}"

    def image(self, row: int) -> Image.Image:
        """The image of a row."""
        return image_from_array(self.pixels[row])

    def digest(self) -> str:
        """SHA-256 over the file's size and time, and the labels."""
        return hashlib.sha256(self.stamp.encode() + self.labels.tobytes()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Of pixels that are on disk the file's path, not its content."""
        on_disk = isinstance(self.pixels, np.memmap)
        pixels = str(self.pixels.filename) if on_disk else self.pixels  # type: ignore[attr-defined]
        return {**self.__dict__, "pixels": pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file of pixels that are on disk."""
        if isinstance(state["pixels"], str):
            state["pixels"] = np.load(state["pixels"], mmap_mode="r", allow_pickle=False)
        self.__dict__.update(state)


def read_npz(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """The arrays of a split in an `.npz` file; None if there is no such split.

    Raises:
        ValueError: the file is damaged, an array is missing or holds something else.
    """
    root, asked = needed_root(section), section.split_path(split)
    path = root / Path(asked).expanduser() if asked is not None else root
    if asked is None and root.is_dir():
        files = [root / f"{name}.npz" for name in DEFAULTS[split]]
        path = next((file for file in files if file.is_file()), root)
        if path is root and any((root / f"{name}.npz").is_file() for name in _every_split()):
            return None
    where = f"data ({path})"
    with _opened_npz(path, where) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        own = asked is not None or path != root
        pair = section.columns or _pair(names, split, own)
        if pair is None and split == "train":
            return None
        if pair is None:
            raise ValueError(
                f"{where}: expected arrays such as test_images and test_labels, found "
                f"{', '.join(names[:20]) or 'none'}. Set data.columns to the names of images and "
                "labels"
            )
        missing = [name for name in pair if name not in names]
        if missing:
            raise ValueError(
                f"data.columns: expected arrays of {path}, which are {', '.join(names[:20])}; "
                f"{', '.join(missing)} is none of them"
            )
        pixels, labels = (_member(archive, name, where) for name in pair)
    return _found(pixels, labels, path, where, spec)


def read_npy(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """`SPLIT_images.npy` and `SPLIT_labels.npy` of `data.root`; None if there are none.

    `data.test` and `data.train` may name another file of images; its labels are then in the file
    with `labels` in place of `images`, or `y` in place of `x`, in its name. Pixels stay on disk
    until they are needed.

    Raises:
        ValueError: a file is missing or damaged, or holds something else.
    """
    root, asked = needed_root(section), section.split_path(split)
    pairs = list(_npy_pairs(root, split)) if asked is None else [_asked_pair(root, asked)]
    pair = next((pair for pair in pairs if all(file.is_file() for file in pair)), None)
    if pair is None:
        if split == "train" and asked is None:
            return None
        tried = " or ".join(f"{images} with {labels.name}" for images, labels in pairs[:3])
        raise ValueError(f"data.{split}: expected the files {tried}; at least one does not exist")
    where = f"data ({pair[0]})"
    try:
        pixels = np.load(pair[0], mmap_mode="r", allow_pickle=False)
        labels = np.load(pair[1], allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(_unusable(where, reason(error))) from error
    return _found(pixels, labels, pair[0], where, spec)


def _found(pixels: Any, labels: Any, path: Path, where: str, spec: ImageSpec) -> Found:
    """Records of arrays that were checked."""
    channels = pixels.shape[-1] in (1, 3) or (pixels.ndim == 4 and pixels.shape[1] in (1, 3))
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and not channels):
        raise ValueError(
            f"{where}: expected images of type uint8 in 0 to 255 and shape (N, H, W), "
            "(N, H, W, C) or (N, C, H, W) with 1 or 3 channels, got "
            f"{pixels.dtype} {tuple(pixels.shape)}. Save them as (255 * images).round()"
            ".astype('uint8') if they are in 0 to 1"
        )
    rows = checked_labels(labels, len(pixels), spec, where)
    facts = path.stat()
    stamp = repr((path.name, facts.st_size, facts.st_mtime_ns, pixels.shape))
    return Found(ArrayRecords(pixels, rows, stamp), where)


def _every_split() -> Iterable[str]:
    return (name for names in DEFAULTS.values() for name in names)


def _pair(names: list[str], split: Split, own: bool) -> tuple[str, str] | None:
    """Names of images and labels of a split; with `own`, the file is the split's own."""
    known = set(names)
    for prefix in _PREFIXES[split]:
        for form in _NAMES:
            images = (form.format(name=name, split=prefix) for name in _IMAGES)
            labels = (form.format(name=name, split=prefix) for name in _LABELS)
            pair = _first(images, known), _first(labels, known)
            if pair[0] and pair[1]:
                return pair[0], pair[1]
    if own or split == "test":
        pair = _first(_IMAGES, known), _first(_LABELS, known)
        if pair[0] and pair[1]:
            return pair[0], pair[1]
    return None


def _first(names: Iterable[str], known: set[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _npy_pairs(root: Path, split: Split) -> Iterable[tuple[Path, Path]]:
    for prefix in _PREFIXES[split]:
        for images, labels in zip(_IMAGES, _LABELS, strict=True):
            for form in _NAMES:
                yield (
                    root / f"{form.format(name=images, split=prefix)}.npy",
                    root / f"{form.format(name=labels, split=prefix)}.npy",
                )
    if split == "test":
        yield root / "images.npy", root / "labels.npy"


def _asked_pair(root: Path, asked: str) -> tuple[Path, Path]:
    images = root / Path(asked).expanduser()
    name = images.name
    other = name.replace("images", "labels") if "images" in name else name.replace("x", "y", 1)
    return images, images.with_name(other)


def _opened_npz(path: Path, where: str) -> zipfile.ZipFile:
    """The zip file that an `.npz` is."""
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            raise ValueError(
                f"{where}: expected an .npz file, it is an .npy file: set data.name: npy"
            ) from error
        hint = " pickle" if start.startswith(b"\x80") else ""
        raise ValueError(_unusable(where, f"{reason(error)}{hint}")) from error
    except OSError as error:
        raise ValueError(_unusable(where, reason(error))) from error


def _member(archive: zipfile.ZipFile, name: str, where: str) -> Any:
    """An array; its size is read from its header first."""
    try:
        with archive.open(f"{name}.npy") as member:
            nbytes = _declared_bytes(member.read(4096))
        if nbytes > _MOST_BYTES:
            raise ValueError(f"it would take {nbytes:,} bytes of memory")
        with archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(_unusable(f"{where}, array {shown(name)}", reason(error))) from error


def _declared_bytes(head: bytes) -> int:
    """Bytes of memory that an array takes by its header; 0 if the header is damaged."""
    start, end = head.find(b"{"), head.find(b"}")
    try:
        facts = ast.literal_eval(head[start : end + 1].decode("latin1"))
        return int(np.prod([np.dtype(facts["descr"]).itemsize, *facts["shape"]], dtype=object))
    except (ValueError, SyntaxError, KeyError, TypeError):
        return 0


def _unusable(where: str, why: str) -> str:
    if "pickle" in why.lower():
        return (
            f"{where}: expected arrays of numbers, it holds pickled objects, which are not opened "
            "because opening them can execute code. Save images and labels as arrays of numbers"
        )
    return (
        f"{where}: expected a file of numpy.save or numpy.savez, it cannot be read ({why}). "
        "If it is one, it is cut off or damaged: copy it again"
    )
