"""Reads the content of a weights file of any kind. Nothing in the file is executed."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError
from safetensors.torch import load_file

from fastdfkd.models.file_kinds import OPENED, Kind, UnknownKind, kind_of, weights_file_in
from fastdfkd.models.plain_pickle import load_plain
from fastdfkd.models.unread_objects import Content, load_torch
from fastdfkd.runs.files import read_whole
from fastdfkd.text.shown import reason, shown, shown_name

_MOST_INDEX_BYTES = 64 * 2**20
_DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    StopIteration,
    MemoryError,
    SafetensorError,
    zipfile.BadZipFile,
)


def read_content(path: Path) -> tuple[Path, Kind, Content]:
    """The file that was read (in a folder, the one with weights), its kind and its content.

    Raises:
        ValueError: the file does not exist, is of an unknown kind, is damaged, or contains pickled
            objects in place of tensors. Those are never loaded, because unpickling can run code.
    """
    if not os.path.exists(path):  # Path.exists raises for names that cannot exist
        folder = shown_name(path.parent.absolute())
        raise ValueError(f"weights {shown_name(path)}: no such file (looked in {folder})")
    try:
        path = weights_file_in(path)
        kind = kind_of(path)
    except UnknownKind as error:
        raise ValueError(f"weights {shown_name(path)}: expected {OPENED}, got {error}") from error
    except _DAMAGE as error:
        raise ValueError(damaged(path, error)) from error
    try:
        return path, kind, _READERS[kind](path)
    except pickle.UnpicklingError as error:
        raise ValueError(_refused(path, error)) from None
    except _DAMAGE as error:
        raise ValueError(damaged(path, error)) from error


def objects_refused(path: Path, names: str) -> str:
    """Message: a file contains objects where tensors were expected."""
    return (
        f"weights {shown_name(path)}: expected tensors by name, got pickled Python objects "
        f"({shown_name(names)}), perhaps a whole module. They are not opened, because that could "
        "run code. If you trust the file, open it yourself and save its state dict: "
        "torch.save(model.state_dict(), path)"
    )


def damaged(path: Path, error: BaseException) -> str:
    """Message: a file cannot be read."""
    return (
        f"weights {shown_name(path)}: cannot be read, damaged or cut short ({reason(error)}); save "
        "or copy it again"
    )


def _refused(path: Path, error: pickle.UnpicklingError) -> str:
    """Message: torch refused the file. Torch's own text advises unsafe opening: it is not shown."""
    text = str(error).lower()
    if any(word in text for word in ("global", "operand", "instruction", "class", "reduce")):
        return objects_refused(path, "of a kind that torch blocks")
    return damaged(path, ValueError("no pickle of tensors"))


def _read_archive(path: Path) -> Content:
    _check_archive(path)
    return load_torch(path, archive=True)


def _check_archive(path: Path) -> None:
    """Refuse compressed archives: torch.save does not compress, and a small file could fill memory.

    Raises:
        ValueError: the archive unpacks to more bytes than the file has.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, but torch.save does not compress")


def _read_shards(path: Path) -> Content:
    """The tensors of all files that an index.json names. The files are in its folder."""
    index = json.loads(read_whole(path, _MOST_INDEX_BYTES))
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError("JSON without a weight_map, which the index of shards has")
    found: dict[str, object] = {}
    for file in sorted({str(name) for name in names.values()}):
        if PurePosixPath(file).name != file or "\\" in file:
            raise ValueError(f"its index names {shown(file)}, expected a file beside it")
        shard = path.parent / file
        if not shard.is_file():
            raise ValueError(f"its index names {shown(file)}, which is not beside it")
        if (kind := kind_of(shard)) == "index of shards":
            raise ValueError(f"its index names {shown(file)}, which is an index again")
        content = _READERS[kind](shard)
        listed = [key for key, where in names.items() if where == file]
        if absent := [key for key in listed if key not in content]:
            raise ValueError(f"{file} lacks {shown(absent[0])}, which its index lists")
        found |= {key: content[key] for key in listed}
    return found


_READERS: dict[Kind, Callable[[Path], Content]] = {
    "safetensors": load_file,
    "index of shards": _read_shards,
    "torch.save archive": _read_archive,
    "torch.save pickle": lambda path: load_torch(path, archive=False),
    "plain pickle": load_plain,
}
