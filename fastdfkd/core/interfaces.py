"""The three protocols of the algorithm and the order of their calls.

    for round in range(rounds):
        synthesizer.load_student(student_state, version)
        bank.insert(synthesizer.synthesize(round))
        if round >= warmup_rounds:
            for _ in range(updates_per_round):
                distiller.update(bank)

`reference_loop` makes these calls in one process; the platform makes the same calls in many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.task import Task

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class MetaUpdate:
    """The update of the shared generator from one batch.

    `tensors` holds, for each parameter in order, the meta-gradient (FOMAML, Reptile) or the new
    weights (sequential reuse); of a persistent generator all that a batch trained. It is empty if
    the method shares nothing between batches.
    """

    round: int
    tensors: list[Tensor]
    base: int = 0
    """Version of the shared generator that the batch started from, for methods that need it."""


class SharedGenerator(Protocol):
    """A generator that learns from every batch, in place or on the weight board.

    A single synthesizer has its own. Several synthesizers share one if `shares_generator` of the
    recipe's section is true: the weight board holds it, a synthesizer loads its `shared_state()`
    before a batch and returns a `MetaUpdate` after it.
    """

    version: int
    """Number of changes since the initial state."""

    def begin(self, round: int) -> None:
        """Make the changes that are due before batch `round`, such as a scheduled reset."""

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Apply the updates of one or more batches, given in any order."""

    def shared_state(self) -> dict[str, Any]:
        """The state that a copy needs to make batches."""

    def state_dict(self) -> dict[str, Any]:
        """The whole state: what copies need, and what `learn` depends on (an optimiser)."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict()` or a `shared_state()`."""


class Synthesizer(Protocol):
    """Synthesises batches of images from a teacher."""

    steps: int
    """Optimisation steps of the next batch. Methods without `steps` in their section ignore it."""

    def __init__(self, section: Any, task: Task, index: int = 0):
        """Build from the method's recipe section. `index`: its number among several."""

    @property
    def notes(self) -> list[str]:
        """What runs without CUDA graphs that was to run with them, and why, a line each.

        A class may lack it: then there is nothing to say.
        """

    def release(self) -> None:
        """Drop recorded steps and return their memory. Later batches record them anew.

        A class may lack it: a run's processes end with the run, and their memory with them.
        """

    @classmethod
    def shared_generator(cls, section: Any, task: Task) -> SharedGenerator:
        """Build the generator that several synthesizers share, on `task.device`.

        It is only called if `section.shares_generator` is true.
        """

    def load_generator(self, state: Mapping[str, Any]) -> None:
        """Take the newest `shared_state()` of the generator on the weight board."""

    def load_student(self, state: StateDict, version: int) -> None:
        """Load the student's newest weights, which the adversarial loss uses."""

    def make(self, round: int, attempt: int = 0) -> tuple[SyntheticBatch, MetaUpdate]:
        """Synthesise batch number `round` without updating the shared generator.

        A batch that the bank rejected is made again with the next `attempt`, from other random
        numbers.
        """

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Update the shared generator with the updates of one or more batches."""

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        """`make`, then `learn` from it: one round of the paper's algorithm."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next batch depends on, except the student."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""


class SampleBank(Protocol):
    """Stores synthesised images and draws from all of them."""

    def insert(self, batch: SyntheticBatch) -> None:
        """Add a batch; beyond the capacity the oldest images are removed."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` images, uniformly and with replacement: (count, C, H, W) uint8."""

    def in_order(self, round: int, start: int, count: int) -> Tensor:
        """`count` images of one round from position `start` on: (count, C, H, W) uint8.

        Positions beyond the last image begin again with the first. `round` counts the insertions,
        from 0. If its images were removed, those of the oldest round are used.
        """

    def __len__(self) -> int:
        """Number of images stored now."""


class Distiller(Protocol):
    """Trains the student."""

    updates: int
    """Number of updates made so far."""

    def update(self, bank: SampleBank) -> Tensor:
        """One student update on a batch from `bank`; returns the loss, a scalar on the device."""

    def student_state(self) -> dict[str, Tensor]:
        """The student's weights and buffers."""

    def state_dict(self) -> dict[str, Any]:
        """Student, optimiser and number of updates."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
