"""Fetch progress from the board during the run; record the rows and write the checkpoints."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError

from fastdfkd.core.collapse import CollapseWatch
from fastdfkd.platform.accounting import SynthesisTotals, idle_ratio
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.segment_writer import ImagesLostError, SegmentWriter
from fastdfkd.platform.weight_board import Progress
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder

log = logging.getLogger(__name__)
_EVERY_SECONDS = 0.5
_EXIT_SECONDS = 60.0
"""How long the end of a run waits for the last rows, beyond the writing of images."""
TRAINER_ONLY = ("began", "ended", "loading_seconds", "waiting_seconds", "lost_rounds")
"""Fields of a trainer's row that are not recorded; `times` computes figures from them."""


class Log(Protocol):
    """Records progress rows, warnings and notes."""

    def log(self, row: dict[str, float]) -> None:
        """Record one row."""

    def warn(self, warning: str) -> None:
        """Record a warning about the run, one line."""

    def note(self, note: str) -> None:
        """Record a deviation from the recipe, one line."""

    def evaluating(self, images: int, of: int) -> None:
        """Show how many images a running evaluation has done."""


class Monitor:
    """A thread that collects the trainer's output from the board. Use as a context manager.

    It joins the trainer's rows with the synthesizers' totals. Before the first student update
    (warm-up) it records the totals alone. It restores a restarted board from the last checkpoint.
    """

    def __init__(
        self,
        board: Any,
        dispatcher: Dispatcher,
        recorder: Log,
        checkpoints: CheckpointFolder,
        restore_board: Callable[[dict[str, Any] | None], None],
        recipe: Recipe,
        watch: CollapseWatch,
        started: Mapping[str, Any],
    ):
        self.board, self.dispatcher, self.recorder = board, dispatcher, recorder
        self.checkpoints, self.restore_board = checkpoints, restore_board
        self.recipe, self.watch, self.started = recipe, watch, started
        self.trainer_notes: list[str] = []
        """Deviations from the recipe that the trainer found."""
        self._noted: list[str] = []
        self._last_checkpoint: dict[str, Any] | None = None
        self._training, self._recorded, self._inserted = False, 0, 0
        self.outcome: dict[str, Any] | None = None
        """What the trainer left with `WeightBoard.complete`; None before."""
        self._trainer_began: float | None = None
        self._node = ray.get_runtime_context().get_node_id()
        a_round = recipe.synthesis.batch_size * math.prod(watch.spec.shape)
        self._writer = SegmentWriter(self._node, a_round)
        self._lost: set[int] = set()
        """Rounds whose images were gone when a checkpoint was to have them."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        """Start the thread. The warnings of a resumed run are recorded again."""
        for warning in self.watch.warnings:
            self.recorder.warn(warning)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Collect the last rows and stop; after an error give up what is being written."""
        self._stop.set()
        if kind is not None:
            self._writer.stop()
        self._thread.join(timeout=_EXIT_SECONDS)
        while kind is None and self._writer.writing:  # gigabytes on a slow disk take minutes
            self._thread.join(timeout=_EXIT_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_EVERY_SECONDS):
                self._collect()
            self._collect()
        except Exception as error:  # a run that cannot be recorded is ended
            self.dispatcher.end(error)

    def _collect(self) -> None:
        inserted = len(self.dispatcher.history)
        try:
            progress: Progress = ray.get(self.board.collect.remote())
            if not progress.restored:
                log.warning("the weight board was restarted: restoring its last checkpoint")
                self.dispatcher.totals.board_restarts += 1
                self.restore_board(self._last_checkpoint)
        except RayActorError as error:
            log.warning("the weight board does not answer: %s", error)
            return
        self.outcome = self.outcome or progress.outcome
        if self.outcome and "diverged" in self.outcome:
            self.dispatcher.end(FloatingPointError(self.outcome["diverged"]))
        self._note(progress.notes)
        if progress.evaluated is not None:
            self.recorder.evaluating(*progress.evaluated)
        for row in progress.rows:
            self._count_restarts(row["began"])
            self.dispatcher.history.updates = int(row["updates"])
            self._record(progress_row(row, self.dispatcher.totals))
        if not progress.rows and not self._training:
            self._record_warm_up()
        self._training = self._training or bool(progress.rows)
        for state in progress.checkpoints:
            self._last_checkpoint = state
            self._save(state)
        self.dispatcher.history.evict(self._inserted)
        self._inserted = inserted

    def _note(self, of_trainer: Sequence[str]) -> None:
        """Log new notes of the trainer; record those and the synthesizers'."""
        for note in of_trainer:
            if note not in self.trainer_notes:
                log.warning("%s", note)
                self.trainer_notes.append(note)
        for note in (*self.dispatcher.notes, *self.trainer_notes):
            if note not in self._noted:
                self._noted.append(note)
                self.recorder.note(note)

    def _count_restarts(self, began: float) -> None:
        """Count a restart of the workers: their rows then give another start time."""
        if self._trainer_began not in (None, began):
            self.dispatcher.totals.worker_restarts += 1
        self._trainer_began = began
        if self.dispatcher.totals.trainer_began is None:
            self.dispatcher.totals.trainer_began = began

    def _record_warm_up(self) -> None:
        batches = len(self.dispatcher.totals.records)
        if batches > self._recorded:
            self._record(self.dispatcher.totals.row())
        self._recorded = batches

    def _record(self, row: dict[str, float]) -> None:
        """Record a progress row, and a warning if it shows a collapse."""
        batches = [record.figures for record in self.dispatcher.totals.records]
        columns, warning = self.watch.check(batches, row)
        self.recorder.log({**row, **columns})
        if warning is not None:
            log.warning("%s", warning)
            self.recorder.warn(warning)

    def _save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; a failure, such as a full disk, is logged and the run goes on."""
        try:
            self._write(state)
        except OSError as error:
            updates = state["trainer"]["distiller"]["updates"]
            log.warning("checkpoint after update %d was not written: %s", updates, error)

    def write_last(self, trainer: dict[str, Any]) -> None:
        """Write a checkpoint for the images alone, after the last round of a run.

        Args:
            trainer: the trainer's state. Nothing can be resumed from it, because the run is over.

        Raises:
            OSError: the disk is full or not writable.
        """
        self._write({"trainer": trainer})

    def _write(self, state: dict[str, Any]) -> None:
        trainer, totals = state["trainer"], self.dispatcher.totals
        history = self.dispatcher.history
        updates, rounds = trainer["distiller"]["updates"], trainer["rounds"]
        held = history.held(rounds[-self.recipe.capacity_rounds :])
        driver_state = {
            "recipe": self.recipe.flat(),
            "totals": totals.state(rounds, trainer["ended"] - totals.started),
            "collapse": self.watch.state_dict(),
            "started": dict(self.started),
        }
        saved = False
        while not saved:  # without lost images; each time there are fewer
            new = [r for r in self.checkpoints.unwritten(held) if r not in self._lost]
            images = history.references_of(new)
            try:
                whole = {**state, **driver_state}
                self.checkpoints.save(updates, whole, images, held, self._writer)
                saved = True
            except ImagesLostError as error:
                log.warning("the checkpoint after update %d is without images: %s", updates, error)
                self._lost |= set(error.rounds)
        changed = history.file(self.checkpoints.files(), self._node)
        self.dispatcher.bank.file(changed)


def progress_row(row: dict[str, float], totals: SynthesisTotals) -> dict[str, float]:
    """A progress row: the trainer's row, the synthesis totals and the times that need both."""
    synthesis = totals.row()
    return {
        **synthesis,
        **{name: value for name, value in row.items() if name not in TRAINER_ONLY},
        **times(row, totals),
        "lost": synthesis["lost"] + row["lost_rounds"],
    }


def times(row: dict[str, float], totals: SynthesisTotals) -> dict[str, float]:
    """Times that need both roles, in seconds; waiting before the first synthesis is left out."""
    waited = max(row["waiting_seconds"] - totals.startup_wait, 0.0)
    return {
        "storage_seconds": totals.sum("storage_seconds") + row["loading_seconds"],
        "trainer_idle_seconds": waited,
        "trainer_idle_ratio": idle_ratio(waited, row["distillation_seconds"]),
        "end_to_end_seconds": max(row["ended"] - totals.started, 0.0),
    }
