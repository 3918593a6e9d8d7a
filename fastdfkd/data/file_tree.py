"""The files of a folder or of a zip file, by their relative paths. A zip is not unpacked."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fastdfkd.text.shown import reason, shown, shown_name

LARGEST_FILE = 256 * 2**20
"""Most bytes of one file in a zip, unpacked."""

_BOMB_RATIO, _BOMB_BYTES = 200, 2**30


class FileTree(Protocol):
    """Files below a place. Processes may each have a copy of it. Hidden files do not count."""

    @property
    def place(self) -> str:
        """What messages call the place."""

    def folders(self) -> list[str]:
        """Sorted names of the folders directly below."""

    def below(self, name: str) -> FileTree:
        """The files below one of the folders, or below a path of several."""

    def files(self) -> dict[str, str]:
        """The relative paths (with `/`) of all files, each with what changes with its content."""

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            OSError: it is damaged or missing.
        """


def file_tree(path: Path) -> FileTree:
    """The files of a folder or of a zip file.

    Raises:
        ValueError: there is neither, or the zip cannot be used. The message starts with the path.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise ValueError(f"{shown_name(path)}: expected a folder or a zip file, it does not exist")
    return ZipFile.checked(path)


@dataclass(frozen=True)
class Folder:
    """A folder on disk. Links are followed, and each folder is entered once."""

    root: Path

    @property
    def place(self) -> str:
        """The folder's path."""
        return shown_name(self.root)

    def folders(self) -> list[str]:
        """See `FileTree`."""
        return sorted(entry.name for entry in _visible(self.root) if entry.is_dir())

    def below(self, name: str) -> Folder:
        """See `FileTree`."""
        return Folder(self.root / name)

    def files(self) -> dict[str, str]:
        """Paths of files, each with its size and time of change."""
        found: dict[str, str] = {}
        ahead, seen = [self.root], {os.path.realpath(self.root)}
        while ahead:
            for entry in _visible(ahead.pop()):
                if not entry.is_dir():
                    path = os.path.relpath(entry.path, self.root).replace(os.sep, "/")
                    found[path] = _stamp(entry)
                elif (real := os.path.realpath(entry.path)) not in seen:
                    seen.add(real)
                    ahead.append(Path(entry.path))
        return dict(sorted(found.items()))

    def read(self, path: str) -> bytes:
        """See `FileTree`."""
        return (self.root / path).read_bytes()


@dataclass
class ZipFile:
    """A zip file. Its files are read from it one by one; nothing is written to disk."""

    path: Path
    prefix: str = ""
    """Path of a folder within it, with a `/` at the end; empty: all of it."""
    _open: dict[int, zipfile.ZipFile] = field(default_factory=dict, repr=False)
    """The opened file of each process, by process number: processes must not share a position."""

    @classmethod
    def checked(cls, path: Path) -> ZipFile:
        """A zip file whose entries are safe to read.

        Raises:
            ValueError: it is damaged, encrypted, has paths outside itself, or would unpack to far
                more than it holds.
        """
        tree = cls(path)
        try:
            entries = tree._archive().infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ValueError(
                f"{tree.place}: expected a folder or a zip file; it cannot be read as a zip "
                f"({reason(error)}). If it is one, it is cut off or damaged: copy it again"
            ) from error
        for entry in entries:
            tree._check(entry)
        unpacked, packed = sum(entry.file_size for entry in entries), path.stat().st_size
        if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * packed:
            raise ValueError(
                f"{tree.place}: {packed:,} bytes would unpack to {unpacked:,}; images do not "
                "shrink like that (a zip bomb). Make the zip file anew from the images"
            )
        return tree

    @property
    def place(self) -> str:
        """The file's path, and that of the folder within it."""
        return shown_name(f"{self.path}{f' ({self.prefix})' if self.prefix else ''}")

    def folders(self) -> list[str]:
        """See `FileTree`. Folders without an entry of their own count."""
        found = {
            path.split("/")[0]
            for entry in self._archive().infolist()
            if "/" in (path := self._relative(entry))
        }
        return sorted(found)

    def below(self, name: str) -> ZipFile:
        """See `FileTree`."""
        return ZipFile(self.path, f"{self.prefix}{name.strip('/')}/", self._open)

    def files(self) -> dict[str, str]:
        """Paths of files, each with its size and checksum."""
        found = {
            path: f"{entry.file_size} {entry.CRC}"
            for entry in self._archive().infolist()
            if not entry.is_dir() and (path := self._relative(entry))
        }
        return dict(sorted(found.items()))

    def read(self, path: str) -> bytes:
        """See `FileTree`."""
        try:
            return self._archive().read(self.prefix + path)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError) as error:
            raise OSError(reason(error)) from error

    def _relative(self, entry: zipfile.ZipInfo) -> str:
        """Path below `prefix`; empty if it is not there or hidden."""
        name = entry.filename
        if not name.startswith(self.prefix) or any(map(_is_hidden, name.split("/"))):
            return ""
        return name[len(self.prefix) :]

    def _check(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename
        if (
            name.startswith(("/", "\\"))
            or ":" in name[:2]
            or ".." in name.replace("\\", "/").split("/")
        ):
            raise ValueError(
                f"{self.place}: expected relative paths, but it has the entry {shown(name)}, which "
                "lies outside the zip file. Make it anew, from within the folder of images"
            )
        if entry.flag_bits & 1:
            raise ValueError(
                f"{self.place}: its entry {shown(name)} is encrypted. Make the zip file anew "
                "without a password"
            )
        if entry.file_size > LARGEST_FILE:
            raise ValueError(
                f"{self.place}: its entry {shown(name)} would unpack to {entry.file_size:,} bytes; "
                f"expected at most {LARGEST_FILE:,} (a zip bomb?). Take it out of the zip file"
            )

    def _archive(self) -> zipfile.ZipFile:
        process = os.getpid()
        if process not in self._open:
            self._open = {process: zipfile.ZipFile(self.path)}
        return self._open[process]

    def __getstate__(self) -> dict[str, object]:
        """Without the opened file."""
        return {"path": self.path, "prefix": self.prefix, "_open": {}}


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in os.scandir(folder) if not _is_hidden(entry.name)]


def _stamp(entry: os.DirEntry[str]) -> str:
    try:
        facts = entry.stat()
    except OSError:  # a link to nothing: reading it fails, and then it is named
        return "missing"
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")
