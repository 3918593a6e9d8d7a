"""Takes the place of the trainer in a run that only makes images.

It asks the bank for images as the trainer does, counts a round past warm-up as an update, and
offers checkpoints after the same rounds. So reservations, retries, restarts and resumed runs work
as in a run with a student.
"""

from __future__ import annotations

from typing import Any

import ray
import torch
from torch import Tensor

from fastdfkd.core.clock import Clock
from fastdfkd.core.memory import peak_memory_bytes
from fastdfkd.core.precision import resolve_precision
from fastdfkd.experiment import Experiment
from fastdfkd.trainers.bank_loader import BankLoader
from fastdfkd.trainers.calls import call_until_answered
from fastdfkd.trainers.checkpoint import next_checkpoint
from fastdfkd.trainers.weights import to_tensors


class _NoRing:
    """A buffer that keeps nothing: the images stay in the object store."""

    def __len__(self) -> int:
        return 0

    def extend(self, images: Tensor, *, lasting: bool = False) -> None:
        """Keep nothing."""

    def first(self, count: int) -> Tensor:
        """Never called, because there are none."""
        raise AssertionError


class ImageKeeper:
    """Waits for all rounds of a run, in the driver."""

    def __init__(self, bank: Any, board: Any, device: str):
        """Continue from the board's state, if it has one.

        Args:
            bank: handle of the sample bank actor.
            board: handle of the weight board actor.
            device: `cpu` or `cuda`, of the synthesizers.
        """
        self.board, self.device = board, torch.device(device)
        reference, state = call_until_answered(board.parts.remote, "the weight board")
        experiment: Experiment = ray.get(reference[0])
        self.recipe = experiment.recipe
        self.clock, self.updates = Clock(), 0
        batch = self.recipe.synthesis.batch_size
        self.loader = BankLoader(bank, _NoRing(), self.clock, batch_size=batch, leader=True)
        if state is not None:
            kept = to_tensors(state)
            self.updates = int(kept["distiller"]["updates"])
            self.clock.seconds.update(kept["clock"])
        self.began = self.clock.unix()

    def run(self) -> None:
        """Wait until the last round is in the bank.

        Raises:
            BankClosed: synthesis failed or the run was stopped.
        """
        total, allowed = self.recipe.updates, 0
        while self.updates < total:
            if self.updates >= allowed:
                allowed = self.loader.advance(self.updates)
            checkpoint = next_checkpoint(self.recipe, self.updates)
            self.updates = min(allowed, total, checkpoint)
            self.board.post.remote(self._row())
            if self.updates == checkpoint != total:
                call_until_answered(
                    lambda: self.board.save.remote(self._state()), "the weight board"
                )
        precision = resolve_precision(self.device, self.recipe.platform.precision)
        graphs = self.device.type == "cuda" and bool(self.recipe.platform.cuda_graphs)
        outcome = {
            "row": self._row(),
            "precision": precision,
            "cuda_graphs": "on" if graphs else "off",
            "trainer": self._state(),
        }
        call_until_answered(lambda: self.board.complete.remote(outcome), "the weight board")

    def _row(self) -> dict[str, float]:
        """The trainer's half of a progress row."""
        seconds = self.clock.seconds
        return {
            "began": self.began,
            "ended": self.clock.unix(),
            "updates": self.updates,
            "bank_images": len(self.loader.rounds) * self.recipe.synthesis.batch_size,
            "distillation_seconds": 0.0,
            "evaluation_seconds": 0.0,
            "loading_seconds": seconds["storage"],
            "waiting_seconds": seconds["idle"],
            "lost_rounds": len(self.loader.lost),
            "trainer_peak_memory_bytes": peak_memory_bytes("cpu"),
        }

    def _state(self) -> dict[str, Any]:
        """What a checkpoint has of the trainer."""
        return {
            "distiller": {"updates": self.updates},
            "clock": dict(self.clock.seconds),
            "rounds": list(self.loader.rounds),
            "ended": self.clock.unix(),
        }
