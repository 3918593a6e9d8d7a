"""Locks the folder of a run, so that one driver at a time uses it.

The lock is an `flock` on a small file in the folder. The file contains who holds the lock. The
kernel releases the lock when the driver ends, even when it is killed: child processes do not
inherit the open file, and forked ones close it. The file is removed when the lock is released. A
file that a killed driver left does not prevent a new lock. On NFS the server keeps the lock, so it
works across nodes; docs/clusters.md lists file systems where it does not.

The library filelock, used for the SQLite store, does not fit here. It leaves its file behind, and
on file systems without locks it uses plain files, which stay locked when their process dies.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EAGAIN
from pathlib import Path

from fastdfkd.text.shown import shown_name

log = logging.getLogger(__name__)

LOCK_FILE = ".in_use.json"
"""Lock file. It contains `host`, `process`, `command` and `since` of the driver with the lock."""

_LOCKED_ERRORS = (EAGAIN, EACCES)
_RETRY_S, _READ_ATTEMPTS = 0.2, 5
_open_descriptors: set[int] = set()
"""Lock files that this process has open."""


class FolderInUseError(ValueError):
    """Another driver uses the folder. The message names it and says what to do."""


@contextmanager
def lock_folder(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Lock an existing folder for the `with` block. Other files in it are not changed.

    Args:
        folder: folder to lock.
        wait_s: seconds to wait for another driver that is about to end.

    Raises:
        FolderInUseError: another driver has the lock.
        OSError: the folder is not writable.
    """
    path = folder / LOCK_FILE
    descriptor = _acquire(path, time.monotonic() + wait_s)
    try:
        _write_holder(descriptor)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # before the unlock, so that `_is_current` fails for who has it open
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        _close(descriptor)


def _acquire(path: Path, deadline: float) -> int:
    """Open and lock the lock file; return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _open_descriptors.add(descriptor)
        try:
            if _try_lock(descriptor, path) and _is_current(path, descriptor):
                return descriptor
            holder = _read_holder(path)
        except BaseException:
            _close(descriptor)
            raise
        _close(descriptor)
        if time.monotonic() > deadline and holder is not None:
            raise FolderInUseError(
                f"{shown_name(path.parent)} is in use by {holder}: wait until it has ended, stop "
                "it there, or name another folder"
            )
        time.sleep(_RETRY_S if holder else 0.0)


def _try_lock(descriptor: int, path: Path) -> bool:
    """Lock without waiting. True, with a warning, on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _LOCKED_ERRORS:
            return False
        log.warning(
            "%s is on a file system without locks (%s): make sure that no other driver uses it",
            path.parent,
            error.strerror,
        )
    return True


def _is_current(path: Path, descriptor: int) -> bool:
    """Whether `path` is still the open file, not removed by its last driver before the lock."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    """Write who has the lock. If the disk is full, the lock works without it."""
    argv = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    holder = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "command": shown_name(shlex.join(argv)),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def _read_holder(path: Path) -> str | None:
    """Describe who has the lock, for a message; None if the lock file does not exist any more."""
    for _ in range(_READ_ATTEMPTS):
        try:
            holder = json.loads(path.read_bytes())
            return (
                f"process {holder['process']} on {shown_name(holder['host'])} since "
                f"{holder['since']} ({shown_name(holder['command'])})"
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):  # not written yet, or the disk was full
            time.sleep(_RETRY_S)
    return "another process (its lock file does not name it)"


def _close(descriptor: int) -> None:
    _open_descriptors.discard(descriptor)
    os.close(descriptor)


def _close_in_child() -> None:
    """Close the lock files in a forked child, which would keep them locked after its parent."""
    for descriptor in _open_descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _open_descriptors.clear()


os.register_at_fork(after_in_child=_close_in_child)
