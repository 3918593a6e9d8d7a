"""Carries progress from the roles to the recorder, and checkpoints to the disk, during the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.exceptions import ObjectLostError, RayActorError

from fastdfkd.platform.accounting import SynthesisTotals, idle_ratio
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.weight_board import Progress
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder

log = logging.getLogger(__name__)
_EVERY_SECONDS = 0.5
TRAINER_ONLY = ("began", "ended", "loading_seconds", "waiting_seconds", "lost_rounds")
"""Parts of a trainer's row that `times` turns into figures."""


class Log(Protocol):
    """Takes progress rows."""

    def log(self, row: dict[str, float]) -> None:
        """Keep one row."""


class Monitor:
    """A thread that fetches what the trainer left on the board. Use as a context manager.

    The trainer's rows are joined with the synthesizers' totals; before the first student update
    (warm-up) the totals are shown alone. A board that was restarted is told what it last knew.
    """

    def __init__(
        self,
        board: Any,
        dispatcher: Dispatcher,
        recorder: Log,
        checkpoints: CheckpointFolder,
        restore_board: Callable[[dict[str, Any] | None], None],
        recipe: Recipe,
    ):
        self.board, self.dispatcher, self.recorder = board, dispatcher, recorder
        self.checkpoints, self.restore_board = checkpoints, restore_board
        self.recipe = recipe
        self._last: dict[str, Any] | None = None
        self._training, self._shown, self._inserted = False, 0, 0
        self.outcome: dict[str, Any] | None = None
        """The trainer's last word, once it is there."""
        self._began: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Carry the last rows and stop."""
        self._stop.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_EVERY_SECONDS):
                self._carry()
            self._carry()
        except Exception as error:  # a run that nobody sees is not worth its cost
            self.dispatcher.end(error)

    def _carry(self) -> None:
        inserted = len(self.dispatcher.history)
        try:
            progress: Progress = ray.get(self.board.collect.remote())
            if not progress.knows:
                log.warning("the weight board was restarted: telling it what it last knew")
                self.dispatcher.totals.board_restarts += 1
                self.restore_board(self._last)
        except RayActorError as error:
            log.warning("the weight board is away: %s", error)
            return
        self.outcome = self.outcome or progress.outcome
        if self.outcome and "diverged" in self.outcome:
            self.dispatcher.end(FloatingPointError(self.outcome["diverged"]))
        for row in progress.rows:
            self._count_restarts(row["began"])
            self.dispatcher.history.updates = int(row["updates"])
            self.recorder.log(joined(row, self.dispatcher.totals))
        if not progress.rows and not self._training:
            self._show_warm_up()
        self._training = self._training or bool(progress.rows)
        for state in progress.checkpoints:
            self._last = state
            self._save(state)
        self.dispatcher.history.evict(self._inserted)
        self._inserted = inserted

    def _count_restarts(self, began: float) -> None:
        """A trainer that began at another time is another one: its workers were restarted."""
        if self._began not in (None, began):
            self.dispatcher.totals.worker_restarts += 1
        self._began = began
        if self.dispatcher.totals.trainer_began is None:
            self.dispatcher.totals.trainer_began = began

    def _show_warm_up(self) -> None:
        made = len(self.dispatcher.totals.records)
        if made > self._shown:
            self.recorder.log(self.dispatcher.totals.row())
        self._shown = made

    def _save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; a full disk costs the checkpoint, not the run."""
        trainer, totals = state["trainer"], self.dispatcher.totals
        history = self.dispatcher.history
        updates, rounds = trainer["distiller"]["updates"], trainer["rounds"]
        held = history.held(rounds[-self.recipe.capacity_rounds :])
        new = self.checkpoints.unwritten(held)
        made = {
            "recipe": self.recipe.flat(),
            "totals": totals.state(rounds, trainer["ended"] - totals.started),
        }
        try:
            self.checkpoints.save(
                updates,
                {**state, **made},
                dict(zip(new, history.images_of(new), strict=True)),
                held,
            )
        except (OSError, ObjectLostError) as error:
            log.warning("checkpoint after update %d was not written: %s", updates, error)


def joined(row: dict[str, float], totals: SynthesisTotals) -> dict[str, float]:
    """A trainer's row with the synthesizers' half and the times that need both."""
    made = totals.row()
    return {
        **made,
        **{name: value for name, value in row.items() if name not in TRAINER_ONLY},
        **times(row, totals),
        "lost": made["lost"] + row["lost_rounds"],
    }


def times(row: dict[str, float], totals: SynthesisTotals) -> dict[str, float]:
    """The times that need both roles. Nobody waits for the other before the first draw."""
    waited = max(row["waiting_seconds"] - totals.startup_wait, 0.0)
    return {
        "storage_seconds": totals.sum("storage_seconds") + row["loading_seconds"],
        "trainer_idle_seconds": waited,
        "trainer_idle_ratio": idle_ratio(waited, row["distillation_seconds"]),
        "end_to_end_seconds": max(row["ended"] - totals.started, 0.0),
    }
