"""End a run early, when a sweep's scheduler or Ctrl-C stops its trial."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from fastdfkd.platform.dispatcher import Dispatcher

_EVERY_SECONDS = 0.1


class RunStopped(RuntimeError):
    """The run was stopped before its last update; its resources are released."""


@contextmanager
def stopping(stop: threading.Event | None, dispatcher: Dispatcher) -> Iterator[None]:
    """Close the bank and kill the synthesizers once `stop` is set, so that the run ends in seconds.

    The trainer ends at its next call of the bank; unfinished batches are dropped.
    `dispatcher.error` is then a `RunStopped`, which `pipeline.run` raises.

    Args:
        stop: event that ends the run; None: the run is never stopped.
        dispatcher: of the run.
    """
    if stop is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(_EVERY_SECONDS):
                _end(dispatcher)
                return

    thread = threading.Thread(target=watch, name="stopping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _end(dispatcher: Dispatcher) -> None:
    dispatcher.end(RunStopped("the run was stopped before its last update"))
    for actor in dispatcher.synthesizers:
        ray.kill(actor)
