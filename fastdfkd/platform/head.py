"""Watch the head of the Ray cluster (its GCS), and end the run in order when it is lost.

A run without a head continues, but no dead actor restarts, and after a minute Ray ends this process
with exit code 1, before it can close the run. So the run checks the head itself. A head that this
process started cannot restart. Another head may, if its state is stored outside of it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

log = logging.getLogger(__name__)

OWN_HEAD_TIMEOUT_SECONDS = 5.0
"""Silence after which a head that this process started counts as lost."""
_RAY_TIMEOUT = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0
"""Variable and default, in seconds, of the silence after which Ray itself ends this process."""
_SHARE_OF_RAY_TIMEOUT = 0.75
"""Share of Ray's timeout after which any other head counts as lost."""
ENDING_SECONDS = 20.0
"""Time for the run to end in order once the head is lost; then the process exits at once."""
EXIT_CODE = 2
"""Exit code of a process that could not end in order, as of any command without a cluster."""
_EVERY_SECONDS = 1.0

_lost = threading.Event()


class HeadLost(ConnectionError):
    """The cluster's head does not answer any more."""


@contextmanager
def watch(directory: Path, end: Callable[[BaseException], None], *, own: bool) -> Iterator[None]:
    """Check the head from a thread during the block, and end the run when the head is lost.

    Args:
        directory: the run's folder, named in the message.
        end: called with a `HeadLost`; the block then has `ENDING_SECONDS` to end.
        own: whether this process started the head.
    """
    over = threading.Event()
    timeout = OWN_HEAD_TIMEOUT_SECONDS if own else _SHARE_OF_RAY_TIMEOUT * _ray_timeout()
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    _lost.clear()

    def check() -> None:
        last_answer = time.monotonic()
        while not over.wait(_EVERY_SECONDS):
            if answers(host.strip("[]"), int(port)):
                last_answer = time.monotonic()
            elif (silent := time.monotonic() - last_answer) > timeout:
                break
        else:
            return
        error = HeadLost(
            f"the head of the Ray cluster (its gcs_server, at {host}:{port}) has not answered for "
            f"{silent:.0f} s: it was killed, or its machine is gone. The run was ended; continue "
            f"from its last checkpoint with `fastdfkd distill --resume {directory}`"
        )
        _lost.set()
        ending = threading.Thread(target=end, args=(error,), name="head-lost", daemon=True)
        ending.start()  # in a thread, because `end` calls the bank, which may not answer
        if not over.wait(ENDING_SECONDS):
            log.error("%s", error)
            os._exit(EXIT_CODE)

    thread = threading.Thread(target=check, name="head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def is_lost() -> bool:
    """Whether the newest run lost the head; calls of Ray that need the head then never return."""
    return _lost.is_set()


def answers(host: str, port: int) -> bool:
    """Whether the head accepts TCP connections, as it does even when it is slow."""
    try:
        with socket.create_connection((host, port), timeout=2 * _EVERY_SECONDS):
            return True
    except OSError:
        return False


def _ray_timeout() -> float:
    name, default = _RAY_TIMEOUT
    try:
        return float(os.environ[name])
    except (KeyError, ValueError):
        return default
