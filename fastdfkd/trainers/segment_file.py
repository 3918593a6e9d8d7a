"""Maps the images of a checkpoint's image segment, so that each is read when it is used.

`safetensors` reads a file that it opens ahead, all of it. The images of a segment may be more than
the memory of a machine.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100 * 2**20
"""As in the format's own reader."""


def mapped_images(path: Path) -> dict[int, Tensor]:
    """The images of a segment by round, (B, C, H, W) uint8 each. Do not write to them.

    Opening it reads its header, and checks that the file has its whole length.

    Args:
        path: a file that `save_state` wrote of `{"rounds": [...], "images": [...]}`.

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
