"""Atomic file writes: a reader, or a crash, finds the old content or the new one, never a part."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary name, synced to disk, then renamed.

    Raises:
        OSError: the disk is full or the folder is not writable; the temporary file is removed.
    """
    with draft_of(path) as draft, draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`. The block fills and syncs it; then it is renamed to `path`.

    A block that raises leaves nothing. A process that is killed leaves the draft: `drop_drafts`.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        draft.touch(exist_ok=False)
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def drop_drafts(folder: Path) -> None:
    """Delete the drafts of killed processes. Nobody else may be writing into the folder."""
    for draft in folder.glob(".*.tmp"):
        draft.unlink(missing_ok=True)


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Read a regular file of at most `most_bytes` bytes.

    Pipes and devices are refused, because reading them may never end.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not a regular file, is larger, or cannot be read.
    """
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise OSError(f"{path}: expected a regular file, got another kind; move it away")
    if info.st_size > most_bytes:
        raise OSError(
            f"{path}: {info.st_size:,} bytes, but such a file has at most {most_bytes:,}; it is "
            "damaged, or another file"
        )
    return path.read_bytes()
