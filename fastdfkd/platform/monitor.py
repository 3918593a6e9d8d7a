"""Carries progress from the roles to the recorder while the run goes on."""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol

import ray

from fastdfkd.platform.dispatcher import Dispatcher, SynthesisTotals

log = logging.getLogger(__name__)
_EVERY_SECONDS = 0.5
TRAINER_ONLY = ("began", "ended", "loading_seconds", "waiting_seconds")
"""Parts of a trainer's row that `times` turns into figures."""


class Log(Protocol):
    """Takes progress rows."""

    def log(self, row: dict[str, float]) -> None:
        """Keep one row."""


class Monitor:
    """A thread that joins the trainer's rows with the synthesizers' totals. Context manager.

    Before the first student update (warm-up) the totals are shown alone.
    """

    def __init__(self, board: Any, dispatcher: Dispatcher, recorder: Log):
        self.board, self.dispatcher, self.recorder = board, dispatcher, recorder
        self._training, self._shown = False, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Carry the last rows and stop."""
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._carry()
        self._carry()

    def _carry(self) -> None:
        try:
            rows = ray.get(self.board.collect.remote())
        except ray.exceptions.RayError as error:
            log.warning("progress could not be read: %s", error)
            return
        for row in rows:
            self.recorder.log(joined(row, self.dispatcher))
        made = self.dispatcher.totals.rounds
        if not rows and not self._training and made > self._shown:
            self.recorder.log(self.dispatcher.totals.row())
        self._training = self._training or bool(rows)
        self._shown = made


def joined(row: dict[str, float], dispatcher: Dispatcher) -> dict[str, float]:
    """A trainer's row with the synthesizers' half and the times that need both."""
    totals = dispatcher.totals
    return {
        **totals.row(),
        **{name: value for name, value in row.items() if name not in TRAINER_ONLY},
        **times(row, totals),
    }


def times(row: dict[str, float], totals: SynthesisTotals) -> dict[str, float]:
    """The times that need both roles. Nobody waits for the other before the first draw."""
    before = max(totals.started - row["began"], 0.0)
    return {
        "storage_seconds": totals.seconds["storage"] + row["loading_seconds"],
        "trainer_idle_seconds": max(row["waiting_seconds"] - before, 0.0),
        "end_to_end_seconds": row["ended"] - totals.started,
    }
