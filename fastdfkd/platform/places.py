"""Where a Ray of our own puts its sockets, its logs and its token on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

LONGEST = 39
"""Bytes of a folder under which `ray/session_<time>_<pid>/sockets/plasma_store` still is a name of
a socket: those have 107 at most."""

_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


@contextmanager
def short_folder() -> Iterator[str | None]:
    """A folder for Ray where its own choice is too long or refuses us; None where it is not.

    Raises:
        OSError: there is no such folder on this machine. Says what to set.
    """
    chosen = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(chosen)) <= LONGEST and _usable(Path(chosen)):
        yield None
        return
    folder = _made(chosen)
    log.info("Ray's sockets are in %s, for %s is too long or not writable", folder, chosen)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def token_without_home() -> None:
    """Give the Ray to be started a token where it could not write one: `~/.ray` is its only place.

    Whatever the user says of tokens stands.
    """
    said = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(os.environ.get(name) for name in said):
        return
    folder = Path(os.path.expanduser("~/.ray"))  # which takes an unknown home
    if not (folder / "auth_token").is_file() and not _usable(folder):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _made(chosen: str) -> Path:
    for parent in _SHORT:
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="fd", dir=parent))
    raise OSError(
        f"no folder for Ray's sockets: {chosen} is longer than {LONGEST} bytes or cannot be "
        f"written to, and so are {', '.join(_SHORT)}. Set RAY_TMPDIR to a short folder of yours"
    )


def _usable(folder: Path) -> bool:
    """Whether Ray can make its folder there: its own `ray/`, or another user's that is open."""
    if not folder.is_absolute():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    there = folder / "ray"
    return os.access(there if there.exists() else folder, os.W_OK | os.X_OK)
