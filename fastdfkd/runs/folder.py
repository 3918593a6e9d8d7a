"""The folder of a run: where it is made, what it may replace, and how files are finished in it."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from fastdfkd.runs.files import read_whole, write_whole
from fastdfkd.runs.folder_lock import LOCK_FILE, held
from fastdfkd.text.shown import shown_name

RUN_FILES = (
    "recipe.yaml",
    "sources.json",
    "state.json",
    "teacher.json",
    "metrics.csv",
    "student.safetensors",
    "samples.png",
    "result.json",
)
"""Every file that a run writes; `result.json` comes last, so a folder with it is finished."""

RUN_FOLDERS = ("ray_train", "checkpoints")
"""Every folder that a run makes: Ray Train's, which would go on from what it finds there."""

TEACHER_FILES = ("teacher.json", "teacher.safetensors")
"""Every file that training a teacher writes."""


_MOST_JSON_BYTES = 64 * 2**20
_MOST = 1e15


def runs_folder() -> Path:
    """`runs/` under the current folder: runs that were given no folder, and the MLflow store."""
    return Path.cwd() / "runs"


@contextmanager
def claimed(
    recipe: str,
    out: str | Path | None,
    *,
    overwrite: bool = False,
    files: tuple[str, ...] = (*RUN_FILES, *RUN_FOLDERS),
    wait_s: float = 0.0,
) -> Iterator[Path]:
    """The folder of a new run, held for a block and proved to be writable; absolute path.

    Without `out` it is `runs/<recipe>-<YYYYmmdd-HHMMSS>/`, with a suffix where that is taken. A
    folder that the block leaves empty is removed.

    Args:
        recipe: its name, used without `out`.
        out: the folder the user asked for.
        overwrite: remove the `files` of an earlier run from it; everything else stays.
        files: names of files and folders that the coming run will write.
        wait_s: seconds to wait for a driver in it that is known to be ending.

    Raises:
        FolderInUseError: another driver works in the folder; nothing in it was changed.
        ValueError: the folder is not empty and `overwrite` is off, or is no folder.
        OSError: the folder cannot be made or written to.
    """
    asked = runs_folder() if out is None else Path(out).expanduser().absolute()
    with _write_refusals_explained(asked):
        folder = _fresh(recipe) if out is None else asked
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{shown_name(folder)} is a file: name a folder for the run")
        folder.mkdir(parents=True, exist_ok=True)
        if not (overwrite or (folder / LOCK_FILE).exists()):
            _check_empty(folder)
    try:
        with ExitStack() as holding:
            with _write_refusals_explained(folder):
                holding.enter_context(held(folder, wait_s=wait_s))
                if not overwrite:
                    _check_empty(folder)
                for name in files:
                    _remove(folder / name)
            yield folder
    finally:
        _discard_if_empty(folder)


def _check_empty(folder: Path) -> None:
    if any(entry.name != LOCK_FILE for entry in folder.iterdir()):
        raise ValueError(
            f"{shown_name(folder)} is not empty: choose another folder, or overwrite the run in it "
            "(--overwrite, or overwrite=True)"
        )


@contextmanager
def _write_refusals_explained(folder: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise type(error)(
            f"cannot write to the run's folder {shown_name(folder)}: {error.strerror or error}. "
            "Name another with --out"
        ) from error


def check_kinds(folder: Path) -> None:
    """What a run would write over is a file where it writes a file, and a folder where a folder.

    Raises:
        ValueError: something of another kind is in the way, and would be found out at the end.
    """
    for name in (*RUN_FILES, *RUN_FOLDERS):
        path, wants_folder = folder / name, name in RUN_FOLDERS
        if path.exists() and path.is_dir() != wants_folder:
            kinds = ("a file", "a folder") if wants_folder else ("a folder", "a file")
            raise ValueError(f"{path} is {kinds[0]} where the run has {kinds[1]}: move it away")


def _discard_if_empty(folder: Path) -> None:
    """Remove a claimed folder that nothing was written to, unless another driver just took it."""
    with suppress(OSError):
        folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either whole or absent (temporary name, then rename)."""
    write_whole(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """`write_text` of a mapping as indented JSON."""
    write_text(path, json.dumps(values, indent=2, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is no regular file, enormous, or cannot be read.
        ValueError: it is damaged, or no JSON object.
    """
    try:
        found = json.loads(read_whole(path, _MOST_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON, damaged or cut short ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found


def figures_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of a mapping's values that can be a figure of a run: numbers, finite and below 1e15."""
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST
    }


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fresh(name: str) -> Path:
    """A new folder under `runs/`, made at once, so that no other driver has the same."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    parent = runs_folder()
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("numbers end")
