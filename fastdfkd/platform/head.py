"""The head of the cluster (Ray's GCS): whether it still answers, and how a run ends when not.

Without its head a run works on, but nothing that dies comes back, and after a minute Ray ends this
process (exit code 1) before it can say or close anything. So a run looks for itself, and ends in
order while it can. A head that this process has started cannot come back; another one may, where it
keeps its state outside of it.
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

OUR_OWN_SECONDS = 5.0
"""Patience with a head of this process's own."""
_RAYS_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0
"""Ray's patience: where it is set, and what it is else."""
_SHARE = 0.75
"""Of Ray's patience, after which a run gives up a head that somebody else has started."""
ENDING_SECONDS = 20.0
"""A run may take to end in order, once the head is lost; then the process is ended as it is."""
EXIT_CODE = 2
"""Of a process that could not end in order: as of every command that reaches no cluster."""
_EVERY_SECONDS = 1.0

_lost = threading.Event()


class HeadLost(ConnectionError):
    """The cluster's head does not answer any more."""


@contextmanager
def watched(directory: Path, end: Callable[[BaseException], None], *, ours: bool) -> Iterator[None]:
    """Look for the head beside the block, and end the run when it is lost.

    Args:
        directory: of the run, to be named in the message.
        end: ends the run, with a `HeadLost`; the block then has `ENDING_SECONDS` to end.
        ours: whether this process has started the head.
    """
    over, patience = threading.Event(), OUR_OWN_SECONDS if ours else _SHARE * _rays_patience()
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    _lost.clear()

    def watch() -> None:
        answered = time.monotonic()
        while not over.wait(_EVERY_SECONDS):
            if answers(host.strip("[]"), int(port)):
                answered = time.monotonic()
            elif (silent := time.monotonic() - answered) > patience:
                break
        else:
            return
        error = HeadLost(
            f"the head of the Ray cluster (its gcs_server, at {host}:{port}) has not answered for "
            f"{silent:.0f} s: it was killed, or its machine is gone. The run was ended; go on from "
            f"its last checkpoint with `fastdfkd distill --resume {directory}`"
        )
        _lost.set()
        ending = threading.Thread(target=end, args=(error,), name="head-lost", daemon=True)
        ending.start()  # which asks the bank, and that may be away
        if not over.wait(ENDING_SECONDS):
            log.error("%s", error)
            os._exit(EXIT_CODE)

    thread = threading.Thread(target=watch, name="head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def is_lost() -> bool:
    """Whether the newest run has lost the head; what Ray asks a head for then takes for ever."""
    return _lost.is_set()


def answers(host: str, port: int) -> bool:
    """Whether the head takes connections; one that is only slow does."""
    try:
        with socket.create_connection((host, port), timeout=2 * _EVERY_SECONDS):
            return True
    except OSError:
        return False


def _rays_patience() -> float:
    name, default = _RAYS_SECONDS
    try:
        return float(os.environ[name])
    except (KeyError, ValueError):
        return default
