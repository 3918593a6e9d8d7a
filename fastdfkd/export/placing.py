"""Puts an export in place: whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastdfkd.runs.folder import explain_write_errors
from fastdfkd.text.shown import shown_name

FOLDER_MARKS = ("metadata.json", "student.xml", "MLmodel")
"""Files of which each export that is a folder has one."""


def check_free(target: Path, overwrite: bool) -> None:
    """Check that nothing is in the place of an export, unless it may be replaced.

    Raises:
        ValueError: there is, or it is a folder with anything but an earlier export.
    """
    filled = target.is_dir() and not target.is_symlink() and any(target.iterdir())
    if filled and not any((target / name).is_file() for name in FOLDER_MARKS):
        raise ValueError(
            f"{shown_name(target)} is a folder of something else, which no export replaces: name "
            "the file or folder that is to be written, with --out"
        )
    if os.path.lexists(target) and not overwrite:
        raise ValueError(
            f"{shown_name(target)} exists: name another file with --out, or replace it with "
            "--overwrite"
        )


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `target` if the block succeeds, else is removed."""
    made = [each for each in target.absolute().parents if not each.exists()]
    try:
        with explain_write_errors(target, ""):
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-")
        with scratch as folder:
            draft = Path(folder) / target.name
            yield draft
            _remove(target)
            draft.rename(target)
    except BaseException:
        for each in made:
            with suppress(OSError):  # another process may have put something there
                each.rmdir()
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
