"""The folder of a run: where it is created, which files it replaces, and how files are written."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from fastdfkd.runs.files import read_whole, write_whole
from fastdfkd.runs.folder_lock import LOCK_FILE, lock_folder
from fastdfkd.text.shown import shown_name

RUN_FILES = (
    "recipe.yaml",
    "sources.json",
    "state.json",
    "teacher.json",
    "metrics.csv",
    "student.safetensors",
    "samples.png",
    "details.json",
    "result.json",
)
"""All files that a run writes. `result.json` is the last one: it marks a finished run."""

RUN_FOLDERS = ("ray_train", "checkpoints")
"""All folders that a run creates. Ray Train would resume from files that are left in its folder."""

EXPORTS = "export"
"""Folder in a run's folder for exported students."""
PROFILE_FILES = ("profile.json", "profile.md")
"""What `fastdfkd profile` writes to a run's folder."""
REPORT_FILE = "report.html"
"""What `fastdfkd report` writes to a run's folder."""

TEACHER_FILES = ("teacher.json", "teacher.safetensors")
"""All files that the training of a teacher writes."""


_MARKS = ("state.json", "result.json", "teacher.json", "metrics.csv", LOCK_FILE)
"""Files of which each folder of a run or of a trained teacher has one."""
_MAX_JSON_BYTES = 64 * 2**20
_MAX_FIGURE = 1e15


def how_to_finish(directory: Path) -> str:
    """How to go on with the run in a folder, after a message; "" if none is there, or it ended."""
    if not (directory / "state.json").is_file() or (directory / "result.json").is_file():
        return ""
    folder = shlex.quote(shown_name(directory))
    return f"; the run has not finished: `fastdfkd distill --resume {folder}` goes on with it"


def runs_folder() -> Path:
    """`runs/` in the current folder: the default place of runs and of the MLflow store."""
    return Path.cwd() / "runs"


@contextmanager
def claim_folder(
    recipe: str,
    out: str | Path | None,
    *,
    overwrite: bool = False,
    files: tuple[str, ...] = (*RUN_FILES, *RUN_FOLDERS, EXPORTS, *PROFILE_FILES, REPORT_FILE),
    wait_s: float = 0.0,
) -> Iterator[Path]:
    """Create and lock the folder of a new run for the `with` block.

    Without `out` the folder is `runs/<recipe>-<YYYYmmdd-HHMMSS>/`, with a suffix if that exists. If
    the folder is empty at the end of the block, it is removed.

    Args:
        recipe: name of the recipe, used without `out`.
        out: folder that the user gave.
        overwrite: remove the `files` of an earlier run from the folder; other files stay.
        files: names of the files and folders that the new run writes.
        wait_s: seconds to wait for another driver that is about to end.

    Yields:
        The absolute path of the folder. It is writable.

    Raises:
        FolderInUseError: another driver uses the folder; nothing in it was changed.
        ValueError: the folder is not empty and `overwrite` is off, or what `overwrite` would remove
            is of no run, or `out` is a file.
        OSError: the folder cannot be created or written to.
    """
    requested = runs_folder() if out is None else Path(out).expanduser().absolute()
    with explain_write_errors(requested):
        folder = _new_folder(recipe) if out is None else requested
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{shown_name(folder)} is a file: name a folder for the run")
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            _check_ours(folder, files)
        if not (overwrite or (folder / LOCK_FILE).exists()):
            _check_empty(folder)
    try:
        with ExitStack() as lock:
            with explain_write_errors(folder):
                lock.enter_context(lock_folder(folder, wait_s=wait_s))
                if not overwrite:
                    _check_empty(folder)
                for name in files:
                    _remove(folder / name)
            yield folder
    finally:
        _discard_if_empty(folder)


def _check_ours(folder: Path, files: Sequence[str]) -> None:
    """Check that the files that are to be removed are of a run or of a trained teacher."""
    found = [name for name in files if os.path.lexists(folder / name)]
    if found and not any(os.path.lexists(folder / name) for name in _MARKS):
        raise ValueError(
            f"{shown_name(folder)} holds no run, and {', '.join(found)} in it would be removed: "
            "name another folder with --out"
        )


def _check_empty(folder: Path) -> None:
    if any(entry.name != LOCK_FILE for entry in folder.iterdir()):
        raise ValueError(
            f"{shown_name(folder)} is not empty: choose another folder, or overwrite the run in it "
            "(--overwrite, or overwrite=True)"
        )


@contextmanager
def explain_write_errors(path: str | Path, what: str = "the run's folder ") -> Iterator[None]:
    """Add the place that is written to and the remedy to the message of an OSError."""
    try:
        yield
    except OSError as error:
        raise type(error)(
            f"cannot write to {what}{shown_name(path)}: {error.strerror or error}. "
            "Name another with --out"
        ) from error


def check_kinds(folder: Path) -> None:
    """Check before a run starts that no folder has the name of a run's file, or vice versa.

    Raises:
        ValueError: there is a file where the run has a folder, or a folder where it has a file.
    """
    for name in (*RUN_FILES, *RUN_FOLDERS):
        path, wants_folder = folder / name, name in RUN_FOLDERS
        if path.exists() and path.is_dir() != wants_folder:
            kinds = ("a file", "a folder") if wants_folder else ("a folder", "a file")
            raise ValueError(f"{path} is {kinds[0]} where the run has {kinds[1]}: move it away")


def _discard_if_empty(folder: Path) -> None:
    """Remove a folder that nothing was written to, unless another driver has just locked it."""
    with suppress(OSError):
        folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_whole(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a mapping atomically, as indented JSON."""
    write_text(path, json.dumps(values, indent=2, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not a regular file, is larger than 64 MiB, or cannot be read.
        ValueError: it is damaged, or not a JSON object.
    """
    try:
        value = json.loads(read_whole(path, _MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON, damaged or cut short ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def figures_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The items that can be figures of a run: finite numbers with an absolute value below 1e15."""
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _MAX_FIGURE
    }


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _new_folder(name: str) -> Path:
    """Create a new folder in `runs/`. `mkdir` makes sure that no other driver gets the same one."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    parent = runs_folder()
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable: `itertools.count` does not end")
