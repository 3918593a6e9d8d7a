"""The runs in a folder, and what can be removed from finished ones.

A folder is a run's if it holds `recipe.yaml` and `state.json`. The folders inside a run are not
searched, and links to folders are not followed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.folder import RUN_FOLDERS
from fastdfkd.runs.folder_lock import lock_folder
from fastdfkd.runs.status import Status, read_status

_FILES = ("recipe.yaml", "state.json")
_CHANGING = ("state.json", "metrics.csv", "result.json")
_DEPTH = 6
"""Folders below the searched one; a trial of a sweep is three below `runs/`."""


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run of a list."""

    directory: Path
    changed: float
    """Unix time at which one of its files last changed."""
    status: Status
    bytes: int
    """Size of all files in its folder."""
    removable: int
    """Bytes that `clean` would free."""

    @property
    def figures(self) -> dict[str, float]:
        """What its student reached, by the columns of `runs.figures.FIGURES`."""
        found = self.status.result or self.status.latest
        return {key: found[key] for key in FIGURES if key in found}

    def facts(self) -> dict[str, Any]:
        """The run as plain data for JSON."""
        recipe = self.status.recipe
        seconds = (self.status.result or self.status.latest).get("end_to_end_seconds")
        return {
            "directory": str(self.directory),
            "recipe": recipe.name if recipe else None,
            "seed": recipe.seed if recipe else None,
            "state": self.status.state,
            "changed": self.changed,
            "figures": self.figures,
            "end_to_end_seconds": seconds,
            "warnings": list(self.status.warnings),
            "bytes": self.bytes,
            "removable_bytes": self.removable,
        }


def list_runs(folder: str | Path) -> list[ListedRun]:
    """The runs in a folder, the one that changed last first.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
    """
    top = Path(folder)
    if not top.exists():
        raise FileNotFoundError(f"{top}: no such folder. Name the folder that holds your runs")
    if not top.is_dir():
        raise NotADirectoryError(f"{top} is a file: name the folder that holds your runs")
    runs = [_listed(path) for path in _run_folders(top, _DEPTH)]
    return sorted(runs, key=lambda run: run.changed, reverse=True)


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    if all((folder / name).is_file() for name in _FILES):
        yield folder
        return
    with suppress(PermissionError):
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        for path in inside if depth else ():
            if not path.is_symlink():
                yield from _run_folders(path, depth - 1)


def _listed(directory: Path) -> ListedRun:
    status = read_status(directory)
    files = [path for name in _CHANGING if (path := directory / name).is_file()]
    return ListedRun(
        directory=directory,
        changed=max(path.stat().st_mtime for path in files),
        status=status,
        bytes=_size(directory),
        removable=sum(map(_size, removable(status))),
    )


def removable(status: Status) -> list[Path]:
    """The folders that a run no longer needs.

    They are the checkpoints and Ray Train's files of a run with a `result.json`. A run that was
    stopped or has failed keeps them, because it can be resumed. A run that only makes images keeps
    them too: its checkpoints are the images.
    """
    if not status.result or status.images_only:
        return []
    folders = [status.directory / name for name in RUN_FOLDERS]
    return [path for path in folders if path.is_dir() and not path.is_symlink()]


def clean(run: ListedRun) -> int:
    """Remove what a finished run no longer needs; the bytes that this freed.

    Raises:
        FolderInUseError: a driver uses the folder. Nothing was removed.
        OSError: a file cannot be removed.
    """
    freed = 0
    with lock_folder(run.directory):
        for path in removable(read_status(run.directory)):
            size = _size(path)
            shutil.rmtree(path)
            freed += size
    return freed


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; files that vanish meanwhile count nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total
