"""What kind of file holds weights, told from its first bytes and never from its name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from fastdfkd.text.shown import shown_name

Kind = Literal[
    "safetensors",
    "index of shards",
    "torch.save archive",
    "torch.save pickle",
    "plain pickle",
]
"""Kinds of file that can be opened."""

Program = Literal["TorchScript program", "torch.export program"]
"""Kinds of archive that hold a network as a program, which runs when it is used."""

OPENED = (
    "safetensors (one file, or shards with their index.json), what torch.save wrote, or a pickle "
    "of tensors"
)

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STRANGE_STARTS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run `git lfs pull`",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x1f\x8b": "a file compressed with gzip: unpack it first",
    b"BZh": "a file compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "a file compressed with xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "a file compressed with zstd: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"7z\xbc\xaf": "a 7-Zip archive: unpack it first",
    b"\x93NUMPY": "a NumPy array, which names no layers",
    b"GGUF": "a GGUF file, whose weights are quantised",
    b"TFL3": "a TensorFlow Lite model",
}
_STRANGE_MIDDLES = ((4, b"TFL3", "a TensorFlow Lite model"),)
_FOLDER_FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)


class UnknownKind(ValueError):
    """The file is none of the kinds that can be opened. Says what it is instead."""


def weights_file_in(path: Path) -> Path:
    """The file itself; in a folder, the weights under the names that Hugging Face gives them.

    Raises:
        UnknownKind: a folder without such a file.
    """
    if not path.is_dir():
        return path
    for name in _FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    raise UnknownKind(f"a folder without {' or '.join(_FOLDER_FILES)}: name the file itself")


def kind_of(path: Path) -> Kind:
    """The kind of a file that is there.

    Raises:
        UnknownKind: it is of another kind.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if start[:4] == b"PK\x03\x04":
        return _kind_of_zip(path)
    if start[:1] == b"{" and start[7:8].isascii() and start[7:8] != b"\0":
        return "index of shards"  # a safetensors file has the length of its header there
    if start[8:9] == b"{":
        return "safetensors"
    if start.startswith(_LEGACY_TORCH):
        return "torch.save pickle"
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "plain pickle"
    if start.lstrip()[:1] == b"{":
        return "index of shards"
    raise UnknownKind(_stranger(start))


def _kind_of_zip(path: Path) -> Kind:
    """Of a zip archive; one without its end is left to torch, which says that it is damaged."""
    if not zipfile.is_zipfile(path):
        return "torch.save archive"
    if program := program_in(path):
        source = "torchscript" if program == "TorchScript program" else "pt2"
        raise UnknownKind(
            f"a {program}: name it as the network, model={source}:FILE, without weights"
        )
    names = _entries(path)
    if "data.pkl" in names:
        return "torch.save archive"
    if names and all(name.endswith(".npy") for name in names):
        raise UnknownKind("a NumPy archive (npz): save the arrays as tensors with torch.save")
    raise UnknownKind(
        f"a zip archive of {shown_name(', '.join(sorted(names)[:3]) or 'nothing')}: unpack it first"
    )


def program_in(path: Path) -> Program | None:
    """The kind of program in a file; None where it holds none.

    Raises:
        OSError: it cannot be read.
        zipfile.BadZipFile: it is damaged.
    """
    if not zipfile.is_zipfile(path):
        return None
    names = _entries(path)
    if "constants.pkl" in names:
        return "TorchScript program"
    exported = {"archive_format", "serialized_exported_program.json"}
    return "torch.export program" if exported & names else None


def _entries(path: Path) -> set[str]:
    """Names in a zip archive, without the folder that torch puts around them."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2] or name for name in archive.namelist()}


def _stranger(start: bytes) -> str:
    if not start:
        return "an empty file: it was cut short, copy it again"
    for sign, words in _STRANGE_STARTS.items():
        if start.startswith(sign):
            return words
    for offset, sign, words in _STRANGE_MIDDLES:
        if start[offset:].startswith(sign):
            return words
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page: the download gave an answer for people, not the file"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it first (torch before 0.1.10 wrote such; save it anew)"
    return (
        f"a file of no known kind (it begins with {start[:8]!r}): damaged, cut short, or another "
        "program's"
    )
