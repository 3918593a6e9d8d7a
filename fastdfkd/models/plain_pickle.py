"""Opening a pickle of tensors or NumPy arrays that torch.save did not write (`.pkl` files).

Python's own unpickler, which may make nothing but mappings, tensors and arrays: every other name
in the file stands for a class that does nothing (`models/unread_objects.py`). Arrays are made here
from their bytes, not by NumPy's unpickling.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdfkd.core import torch_versions
from fastdfkd.models.unread_objects import Content, unread

_NUMBERS = re.compile(r"[fiu][1248]|b1")
_DEEPEST = 8


def load_plain(path: Path) -> Content:
    """The content of a pickle; arrays are tensors, objects are unread.

    Raises:
        pickle.UnpicklingError: it is no pickle of tensors.
        Exception: what the unpickler raises about a damaged file.
    """
    with path.open("rb") as file:
        return _with_tensors(_Unpickler(file, encoding="latin1").load())


class _Unpickler(pickle.Unpickler):
    """Knows how tensors and arrays are made."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickled name stands for: nothing is imported."""
        if module.startswith(("numpy.core.", "numpy._core.")):  # of NumPy 1 and 2
            module = "numpy"
        return _MAKERS.get((module, name)) or unread(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """A reference to what is outside the file."""
        raise pickle.UnpicklingError(f"it refers to {pid!r}, which is outside the file")


class _Type:
    """A NumPy type: its letters, and the byte order that comes after them."""

    def __init__(self, letters: Any = "", *_: Any) -> None:
        self.letters, self.order = str(letters), "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in "<>" else "="

    @property
    def dtype(self) -> np.dtype[Any]:
        if not _NUMBERS.fullmatch(self.letters):
            raise pickle.UnpicklingError(f"an array of {self.letters!r}, expected numbers")
        return np.dtype(self.order + self.letters)


class _Array:
    """A NumPy array whose content comes after it."""

    def __init__(self, *_: Any) -> None:
        self.tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, content = state
        self.tensor = _tensor(content, kind, shape, "F" if columns_first else "C")


def _array(content: Any, kind: Any, shape: Any, order: Any = "C") -> _Array:
    """As pickle protocol 5 makes an array."""
    made = _Array()
    made.tensor = _tensor(content, kind, shape, order)
    return made


def _tensor(content: Any, kind: _Type, shape: Any, order: Any) -> Tensor:
    flat = np.frombuffer(_bytes(content), kind.dtype)
    array = flat.reshape(shape, order="F" if order == "F" else "C")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _bytes(content: Any, *_: Any) -> bytes:
    """Bytes, which protocol 2 writes as text."""
    if isinstance(content, str):
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError(f"expected bytes, got {type(content).__name__}")
    return bytes(content)


def _storage(content: bytes) -> Any:
    """The storage of a tensor, which torch pickles as a file of its own."""
    with warnings.catch_warnings(action="ignore"):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


_MAKERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "bytearray"): _bytes,
    ("_codecs", "encode"): _bytes,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    ("numpy", "_reconstruct"): _Array,
    ("numpy", "_frombuffer"): _array,
    ("torch._utils", "_rebuild_tensor_v2"): torch_versions.rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): torch_versions.rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
}


def _with_tensors(content: Content, depth: int = 0) -> Content:
    """The same content with arrays as tensors."""
    if isinstance(content, _Array):
        return content.tensor
    if isinstance(content, Mapping) and depth < _DEEPEST:
        return {key: _with_tensors(value, depth + 1) for key, value in content.items()}
    return content
