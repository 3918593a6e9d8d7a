"""Where Ray, started on this machine, puts its sockets, its logs and its token."""

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
"""Longest folder, in bytes, in which the path `ray/session_<time>_<pid>/sockets/plasma_store` fits
into the 107 bytes of a Unix socket's path."""

SPILL_FOLDER = "RAY_object_spilling_directory"
"""Environment variable of Ray: where it writes objects for which its store has no memory. Unset: to
the folder of its session."""
LESS_IN_STORE = (
    "to keep images in memory, set platform.checkpoint_every to fewer rounds: a round leaves the "
    "store when a checkpoint has it; to write to another disk, start Ray with another folder "
    f"({SPILL_FOLDER}, or `ray start --object-spilling-directory`)"
)
"""What to do about a bank that Ray's object store cannot hold."""
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def default_folder() -> str:
    """The folder below which Ray, started here, would put its files."""
    return os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"


@contextmanager
def short_folder() -> Iterator[str | None]:
    """A temporary folder for Ray if its own choice is too long or not writable, else None.

    Raises:
        OSError: this machine has no usable folder; the message says what to set.
    """
    default = default_folder()
    if len(os.fsencode(default)) <= LONGEST and _usable(Path(default)):
        yield None
        return
    folder = _create_short(default)
    log.info("Ray's sockets are in %s, because %s is too long or not writable", folder, default)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def token_without_home() -> None:
    """Set a random `RAY_AUTH_TOKEN` if Ray, before it is started, could not write to `~/.ray`.

    Does nothing if the user set any of Ray's token variables.
    """
    settings = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(os.environ.get(name) for name in settings):
        return
    folder = Path(os.path.expanduser("~/.ray"))  # unlike Path.home(), accepts an unknown home
    if not (folder / "auth_token").is_file() and not _usable(folder):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _create_short(default: str) -> Path:
    for parent in _SHORT_FOLDERS:
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="fd", dir=parent))
    raise OSError(
        f"no folder for Ray's sockets: {default} is longer than {LONGEST} bytes or not writable, "
        f"and {', '.join(_SHORT_FOLDERS)} are not writable. Set RAY_TMPDIR to a short folder that "
        "you can write to"
    )


def _usable(folder: Path) -> bool:
    """Whether Ray can write below `folder`: to an existing `ray/` in it, or to a new one."""
    if not folder.is_absolute():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    ray_folder = folder / "ray"
    return os.access(ray_folder if ray_folder.exists() else folder, os.W_OK | os.X_OK)
