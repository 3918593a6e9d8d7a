"""Reading a `torch.export` archive (`.pt2`) without its code.

`torch.export.load` unpickles objects and evaluates text of the file. Here its graph is read as data
(JSON), and its tensors from their bytes; so a file can name operators of torch's, and nothing else.
The format is that of `torch.export.save` since torch 2.8 (schema version 8).
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SCHEMA = 8
"""Major version of the format that is read."""

DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""By their numbers in the format."""

Json = dict[str, Any]


class NotReadable(ValueError):
    """The archive is damaged, of another version, or holds what is not read."""


@dataclass(frozen=True, kw_only=True)
class ExportedArchive:
    """What an archive holds."""

    graph: Json
    """Inputs, nodes, outputs and what is known of their shapes."""
    inputs: list[Json]
    """A specification for each input: a parameter, a buffer, a constant or the user's."""
    outputs: list[Json]
    """A specification for each output."""
    tensors: Mapping[str, Tensor]
    """Parameters, buffers and constants by name, on the CPU."""

    @classmethod
    def read(cls, path: Path) -> ExportedArchive:
        """Read the program called `model`, which `torch.export.save` writes.

        Raises:
            NotReadable: it cannot be read; says why.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                return cls._of(_Entries(archive))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise NotReadable(f"its content is not as torch.export.save writes it: {error}") from (
                error
            )

    @classmethod
    def _of(cls, entries: _Entries) -> ExportedArchive:
        if "models/model.json" not in entries.names:
            raise NotReadable("it was written by torch before 2.8, or with no program in it")
        if entries.content("byteorder", b"little").strip() != b"little":
            raise NotReadable("it was written on a machine of another byte order")
        model = json.loads(entries.content("models/model.json"))
        if (major := model["schema_version"]["major"]) != SCHEMA:
            raise NotReadable(f"it is of schema version {major}, expected {SCHEMA}")
        module = model["graph_module"]
        tensors = entries.tensors("data/weights", "weights")
        tensors |= entries.tensors("data/constants", "constants")
        return cls(
            graph=module["graph"],
            inputs=module["signature"]["input_specs"],
            outputs=module["signature"]["output_specs"],
            tensors=tensors,
        )


class _Entries:
    """Files of an archive, without the folder that torch puts around them."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.names = {name.partition("/")[2]: name for name in archive.namelist()}

    def content(self, name: str, default: bytes | None = None) -> bytes:
        if default is not None and name not in self.names:
            return default
        return self.archive.read(self.names[name])

    def tensors(self, folder: str, kind: str) -> dict[str, Tensor]:
        """Tensors by name of one kind of payload."""
        config = json.loads(self.content(f"{folder}/model_{kind}_config.json"))["config"]
        found = {}
        for name, payload in config.items():
            content = self.content(f"{folder}/{payload['path_name']}")
            if payload.get("use_pickle"):
                found[name] = _unpickled(content, name)
            elif payload.get("tensor_meta") is None:
                raise NotReadable(f"{name} is a pickled object, expected a tensor")
            else:
                found[name] = _tensor(content, payload["tensor_meta"])
        return found


def _unpickled(content: bytes, name: str) -> Tensor:
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # whose text advises to open it unsafely
        loaded = None
    if not isinstance(loaded, Tensor):
        raise NotReadable(f"{name} is a pickled object, expected a tensor; it is not opened")
    return loaded


def _tensor(content: bytes, meta: Json) -> Tensor:
    dtype = dtype_of(meta["dtype"])
    sizes = [size["as_int"] for size in meta["sizes"]]
    strides = [stride["as_int"] for stride in meta["strides"]]
    if not content:
        return torch.empty(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype)
    return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()


def dtype_of(number: int) -> torch.dtype:
    """A type by its number in the format.

    Raises:
        NotReadable: it is none that networks of floating-point numbers have.
    """
    if number not in DTYPES:
        raise NotReadable(f"it holds tensors of type number {number}, quantised perhaps")
    return DTYPES[number]
