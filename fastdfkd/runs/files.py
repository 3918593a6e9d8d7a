"""Files, whole: a reader or a power cut finds all of what was written, or what was there before."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name, sync to the disk, rename.

    Raises:
        OSError: the disk is full or the folder cannot be written to; nothing is left behind.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Content of a regular file of at most so many bytes.

    A pipe is not waited for, a device without end is not read.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: it is something else, larger, or cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path}: expected a regular file, found another kind; move it away")
    if found.st_size > most_bytes:
        raise OSError(
            f"{path}: {found.st_size:,} bytes, more than the {most_bytes:,} that such a file may "
            "have; it is damaged, or another file"
        )
    return path.read_bytes()
