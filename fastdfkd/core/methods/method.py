"""Base class of all methods: what a batch is made of, timed and recorded, apart from its images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8
from fastdfkd.core.batch_figures import batch_figures
from fastdfkd.core.capture_trial import capturable
from fastdfkd.core.captured import failures_of, release_steps
from fastdfkd.core.clock import Clock
from fastdfkd.core.interfaces import MetaUpdate, SharedGenerator, StateDict
from fastdfkd.core.methods.objective import InversionObjective
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import SynthesisSection


@dataclass(frozen=True)
class OptimisedBatch:
    """A batch of images before they are rounded to uint8."""

    images: Tensor
    """(B, C, H, W) float in [0, 1]."""
    answers: Tensor
    """The teacher's logits in the step that `losses` belongs to, (N, K, *space)."""
    labels: Tensor | None
    """(B, *space) int64, the target classes; None: the method has none."""
    losses: dict[str, float]
    """Loss terms of one step: `loss`, `bn`, `oh`, `adv` (the last three unweighted)."""
    update: MetaUpdate
    """What the generator learns from the batch."""


class Method(ABC):
    """Implements `Synthesizer` except for the optimisation of a batch.

    A subclass defines `optimised` and `first_inputs`. If its batches depend on each other, it also
    defines `state_dict` and `load_state_dict`, and for a generator that learns from them `shared`
    and `shared_generator`.
    """

    shared: SharedGenerator | None = None
    """The generator that learns from every batch. None: batches are independent."""

    def __init__(
        self, section: SynthesisSection, task: Task, index: int, objective: InversionObjective
    ):
        self.section, self.kind, self.objective = section, task.kind, objective
        self.steps = section.steps_per_batch
        self.normalisation, self.seed, self.index = task.normalisation, task.seed, index
        self.image_shape, self.device = tuple(task.image_shape), torch.device(task.device)
        self.clock = Clock(self.device)
        self._uncaptured: list[str] = []
        self.round = 0
        """Number of the newest batch."""
        objective.calls_left = lambda: (
            (section.rounds - self.round) * self.steps // task.synthesizers
        )

    @classmethod
    def shared_generator(cls, section: Any, task: Task) -> SharedGenerator:
        """See `Synthesizer`. Not needed if the section's `shares_generator` is always false."""
        raise NotImplementedError(f"{cls.__name__} shares no generator")

    @abstractmethod
    def optimised(self, round: int, attempt: int, adversarial: bool) -> OptimisedBatch:
        """Make a batch. All random numbers follow from (seed, round, attempt).

        Args:
            round: number of the batch.
            attempt: how often it was made before.
            adversarial: whether the loss has its adversarial term.

        Raises:
            DivergedError: a loss became NaN or infinite.
        """

    @abstractmethod
    def first_inputs(self, round: int, attempt: int) -> Tensor:
        """The normalised images (N, C, H, W) with which the first step of a batch starts."""

    def load_student(self, state: StateDict, version: int) -> None:
        """Take the student's newest weights for the adversarial loss."""
        self.objective.load_student(state, version)

    def load_generator(self, state: Mapping[str, Any]) -> None:
        """Take the newest `shared_state()` of the generator on the weight board."""
        assert self.shared is not None, f"{type(self).__name__} shares no generator"
        self.shared.load_state_dict(state)

    def make(self, round: int, attempt: int = 0) -> tuple[SyntheticBatch, MetaUpdate]:
        """Synthesise batch `round`. All random numbers follow from (seed, round, attempt)."""
        start = self.clock.now()
        self.round = round
        made, note = self.objective.make(
            lambda adversarial: self.optimised(round, attempt, adversarial),
            round >= self.section.warmup_rounds,
            lambda: self.first_inputs(round, attempt),
        )
        images = to_uint8(made.images).contiguous()
        figures = batch_figures(made.answers, images)
        provenance = Provenance(
            round=round,
            synthesizer=self.index,
            student_version=self.objective.student_version,
            generator_version=0 if self.shared is None else self.shared.version,
            synthesis_seconds=self.clock.now() - start,
            steps=self.steps if self.section.has_steps else 0,
            losses=made.losses,
            figures=figures,
            note=note,
        )
        labels = None if self.objective.own_labels else made.labels
        return SyntheticBatch(images=images, labels=labels, provenance=provenance), made.update

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Update the generator, if there is one."""
        if self.shared is not None:
            self.shared.learn(updates)

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        """`make` a batch and `learn` from it. The update counts as synthesis time."""
        if self.shared is not None:
            self.shared.begin(round)
        batch, update = self.make(round, attempt)
        start = self.clock.now()
        self.learn([update])
        return batch.timed(batch.provenance.synthesis_seconds + self.clock.now() - start)

    def state_dict(self) -> dict[str, Any]:
        """All that the next batch depends on apart from the student; nothing in this class."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        assert not state, f"{type(self).__name__} has no state, got {sorted(state)}"

    @property
    def notes(self) -> list[str]:
        """See `Synthesizer`."""
        return [*self._uncaptured, *failures_of(self), *self.objective.compiling.notes]

    def release(self) -> None:
        """See `Synthesizer`."""
        release_steps(self)

    def capturable(self, task: Task) -> bool:
        """Whether a step with both networks is wanted and can be captured as a CUDA graph."""
        networks = (
            (self.objective.fused_teacher, task.teacher_use, task.image_shape),
            (self.objective.fused_student, task.student_use, task.student_shape),
        )
        return task.capture and all(
            capturable(network, use, shape, task.device, task.precision, self._uncaptured)
            for network, use, shape in networks
        )
