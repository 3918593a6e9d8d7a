"""Ending a run early: a sweep's scheduler has seen enough of it, or somebody pressed Ctrl-C."""

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
    """The run was asked to end before its last update, and has given back what it held."""


@contextmanager
def stopping(stop: threading.Event | None, dispatcher: Dispatcher) -> Iterator[None]:
    """Close the run's bank once `stop` is set, so that both roles end within seconds.

    The trainer ends at its next question to the bank; a batch in the making is given up with its
    synthesizer. `dispatcher.error` then is a `RunStopped`, which `pipeline.run` raises.

    Args:
        stop: set by whoever wants the run to end; None: nobody will.
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
