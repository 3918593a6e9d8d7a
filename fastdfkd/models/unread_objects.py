"""Opening what torch.save wrote without its objects: what is no tensor is left unread.

A checkpoint holds more than tensors: NumPy numbers, an argparse.Namespace, a path. Such objects
are pickled by the name of a class or a function, which an unpickler would import and call. Here
each such name stands for a class of ours that does nothing. No code of the file runs, nothing that
it names is imported, and the tensors beside the objects can be used.
"""

from __future__ import annotations

import _compat_pickle
import io
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from fastdfkd.core import torch_versions

Content = Any
"""Mappings, lists, numbers, text, tensors, and instances of classes made by `unread`."""

_PICKLES_BEFORE = 3
"""Magic number, protocol and system come before the content of a torch.save pickle."""


class UnreadObject:
    """Stands for an object that was left in the file; `named` is its class or function."""

    named = ""

    def __new__(cls, *_args: Any, **_keywords: Any) -> UnreadObject:
        """Take what the object would have been made from, and drop it."""
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_keywords: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _item: Any) -> None:
        """As a pickle fills a list."""

    def extend(self, _items: Any) -> None:
        """Likewise."""

    def add(self, _item: Any) -> None:
        """As a pickle fills a set."""


def unread(name: str) -> type[UnreadObject]:
    """A class that stands for the class or function called `name` (`module.qualname`)."""
    return type("Unread", (UnreadObject,), {"named": name})


def load_torch(path: Path, *, archive: bool) -> Content:
    """What torch.save wrote, by `torch.load(weights_only=True)`, with its objects unread.

    Args:
        path: the file.
        archive: it is a zip archive, as torch.save writes since 1.6.

    Raises:
        pickle.UnpicklingError: what torch refuses even so.
        Exception: what torch raises about a damaged file.
    """
    names = _globals_of_archive(path) if archive else _globals_of_pickle(path)
    stand_ins: list[Any] = [(unread(name), name) for name in sorted(names)]
    with (
        path.open("rb") as file,  # of a path torch looks at the ending
        warnings.catch_warnings(action="ignore"),  # of the pickle protocol, of deprecated storages
        torch.serialization.safe_globals(stand_ins),
    ):
        return torch.load(file, map_location="cpu", weights_only=True)


def _globals_of_archive(path: Path) -> set[str]:
    if not zipfile.is_zipfile(path):  # cut short: torch says so
        return set()
    with zipfile.ZipFile(path) as archive:
        data = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
        return _globals(io.BytesIO(archive.read(data)))


def _globals_of_pickle(path: Path) -> set[str]:
    with path.open("rb") as file:
        for _ in range(_PICKLES_BEFORE):
            for _operation in pickletools.genops(file):
                pass
        return _globals(file)


def _globals(file: IO[bytes]) -> set[str]:
    """What a pickle names beyond torch's own list, as `module.qualname`, in Python 3's words."""
    known = torch_versions.names_allowed_in_pickles()
    found = {
        _today(*str(argument).split(" ", 1))
        for operation, argument, _ in pickletools.genops(file)
        if operation.name == "GLOBAL"
    }
    return found - set(known)


def _today(module: str, name: str) -> str:
    """A name of Python 2, which protocol 2 writes, as it is called today."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return ".".join(_compat_pickle.NAME_MAPPING[(module, name)])
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"
