"""Writes a checkpoint's image segment round by round, and maps it to read images when used.

A segment is a safetensors file. That library writes a file from memory as a whole, and reads a file
that it opens ahead, all of it. The images of a segment may be more than the memory of a machine.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100 * 2**20
"""As in the format's own reader."""


def in_file_order(rounds: Sequence[int]) -> list[int]:
    """The rounds in the order of their images in the file: by position, compared as text."""
    return [rounds[position] for position in _file_order(len(rounds))]


def write_segment(path: Path, rounds: Sequence[int], images: Iterable[np.ndarray]) -> str:
    """Write a segment into an existing file, sync it, and return its SHA-256 digest.

    The bytes are those that `save_state` writes of `{"rounds": [...], "images": [...]}`. Of the
    images one round is needed at a time.

    Args:
        path: an empty file.
        rounds: at least one.
        images: (B, C, H, W) uint8 of each round, of one shape, in the order of `in_file_order`.

    Raises:
        OSError: the disk is full.
        ValueError: images are missing, or of another kind or shape than those of the first round.
    """
    digest, shape = hashlib.sha256(), None
    with path.open("r+b") as file:
        for round, each in zip(in_file_order(rounds), images, strict=True):
            if shape is None:
                shape = each.shape
                header = _header(rounds, shape)
                file.write(header)
                digest.update(header)
            if each.dtype != np.uint8 or each.ndim != 4 or each.shape != shape:
                raise ValueError(
                    f"the images of round {round} are {each.dtype} of shape {each.shape}: expected "
                    f"uint8 images (B, C, H, W) of the shape of those before, {shape}"
                )
            content = np.ascontiguousarray(each).data.cast("B")
            file.write(content)
            digest.update(content)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _header(rounds: Sequence[int], shape: Sequence[int]) -> bytes:
    """Length and header of the file, as safetensors writes them for images of one shape."""
    tensors = [{"tensor": str(position)} for position in range(len(rounds))]
    tree = json.dumps({"items": [["rounds", list(rounds)], ["images", tensors]]})
    header: dict[str, Any] = {"__metadata__": {"tree": tree}}
    length = math.prod(shape)
    for place, position in enumerate(_file_order(len(rounds))):
        header[str(position)] = {
            "dtype": "U8",
            "shape": list(shape),
            "data_offsets": [place * length, (place + 1) * length],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _file_order(count: int) -> list[int]:
    """Positions in the order of their names in the file, "0", "1", "10", ..., "2", ..."""
    return sorted(range(count), key=str)


def mapped_images(path: Path) -> dict[int, Tensor]:
    """The images of a segment by round, (B, C, H, W) uint8 each. Do not write to them.

    Opening it reads its header, and checks that the file has its whole length.

    Args:
        path: a file of `write_segment`.

    Raises:
        ValueError: the file is missing, damaged, shorter or longer than its header says, or of
            another kind.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > _MOST_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        content = np.memmap(path, np.uint8, mode="c", offset=_LENGTH_BYTES + length)
        return _images(header, content)
    except Exception as error:  # a damaged header can raise anything
        raise ValueError(f"{path} is damaged, or no image segment: {error}") from error


def _images(header: dict[str, Any], content: np.ndarray) -> dict[int, Tensor]:
    tree = dict(json.loads(header.pop("__metadata__")["tree"])["items"])
    end = max(entry["data_offsets"][1] for entry in header.values())
    if end != len(content):
        raise ValueError(f"{len(content)} bytes of images instead of {end}")
    names = [each["tensor"] for each in tree["images"]]
    tensors = [_tensor(header[name], content) for name in names]
    return dict(zip(tree["rounds"], tensors, strict=True))


def _tensor(entry: dict[str, Any], content: np.ndarray) -> Tensor:
    (start, stop), shape = entry["data_offsets"], entry["shape"]
    if entry["dtype"] != "U8" or len(shape) != 4 or stop - start != math.prod(shape):
        raise ValueError(f"images of type {entry['dtype']} and shape {shape}")
    return torch.from_numpy(content[start:stop]).reshape(shape)
