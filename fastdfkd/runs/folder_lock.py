"""A run's folder belongs to one driver at a time, and a dead one holds nothing.

The lock is the kernel's (`flock`) on a small file in the folder, which says who holds it. The
kernel lets go when the driver ends, however it ends: children that it starts do not inherit the
file, forked ones close it. The file is removed with the lock; one that a killed driver left is
taken over. On NFS the lock is the server's and holds across nodes; docs/clusters.md says where it
does not.

filelock, which guards the SQLite store, leaves its file behind, and on file systems without locks
it falls back to files that a dead process keeps.
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
"""In a folder in use: `host`, `process`, `command` and `since` of the driver that holds it."""

_HELD = (EAGAIN, EACCES)
_LOOK_AGAIN_S, _LOOKS = 0.2, 5
_open_here: set[int] = set()


class FolderInUseError(ValueError):
    """Another driver works in the folder. The message says which one and what to do."""


@contextmanager
def held(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold an existing folder for a block; nothing else in it is touched.

    Args:
        folder: that no other driver may work in.
        wait_s: seconds to wait for the one that holds it, where it is known to be ending.

    Raises:
        FolderInUseError: another driver holds it.
        OSError: the folder cannot be written to.
    """
    path = folder / LOCK_FILE
    descriptor = _acquired(path, time.monotonic() + wait_s)
    try:
        _introduce(descriptor)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who opened it before sees that it is gone
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        _close(descriptor)


def _acquired(path: Path, deadline: float) -> int:
    """The open lock file, locked, and still the one that the folder names."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _open_here.add(descriptor)
        try:
            if _locked(descriptor, path) and _is_at(path, descriptor):
                return descriptor
            holder = _holder(path)
        except BaseException:
            _close(descriptor)
            raise
        _close(descriptor)
        if time.monotonic() > deadline and holder is not None:
            raise FolderInUseError(
                f"{shown_name(path.parent)} is in use by {holder}: wait until it has ended, stop "
                "it there, or name another folder"
            )
        time.sleep(_LOOK_AGAIN_S if holder else 0.0)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        log.warning(
            "%s is on a file system without locks (%s): see to it yourself that no other driver "
            "works there",
            path.parent,
            error.strerror,
        )
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file was not removed by its last holder between our opening and locking it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _introduce(descriptor: int) -> None:
    """Write who holds the folder; it is still held where the disk is full."""
    argv = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    about = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "command": shown_name(shlex.join(argv)),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps(about) + "\n").encode(), 0)


def _holder(path: Path) -> str | None:
    """Who holds the folder, in words; None where the file is gone."""
    for _ in range(_LOOKS):
        try:
            about = json.loads(path.read_bytes())
            return (
                f"process {about['process']} on {shown_name(about['host'])} since "
                f"{about['since']} ({shown_name(about['command'])})"
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):  # just taken, or the disk was full
            time.sleep(_LOOK_AGAIN_S)
    return "another process, which has not said who it is"


def _close(descriptor: int) -> None:
    _open_here.discard(descriptor)
    os.close(descriptor)


def _close_in_child() -> None:
    """A forked child would keep its parent's lock."""
    for descriptor in _open_here:
        with suppress(OSError):
            os.close(descriptor)
    _open_here.clear()


os.register_at_fork(after_in_child=_close_in_child)
