"""Base class of the methods that optimise each batch with `InversionObjective`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8
from fastdfkd.core.batch_figures import batch_figures
from fastdfkd.core.clock import Clock
from fastdfkd.core.interfaces import MetaUpdate, SharedGenerator, StateDict
from fastdfkd.core.methods.objective import AdversarialLoss, InversionObjective
from fastdfkd.core.methods.priors import PATCH, PriorWeights, draw_patches
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import InversionSection


@dataclass(frozen=True)
class Draws:
    """The random inputs of a batch."""

    round: int
    """Number of the batch."""
    noise: Tensor
    """(B, *noise_shape), standard normal."""
    labels: Tensor
    """(B, *space) int64, the target classes."""
    randomness: torch.Generator
    """The batch's random stream after noise and labels were drawn from it."""


@dataclass(frozen=True)
class Optimised:
    """An optimised batch."""

    images: Tensor
    """(B, C, H, W) float in [0, 1], of the step with the lowest loss."""
    answers: Tensor
    """The teacher's logits in that step, (B, K, *space): for the augmented images."""
    labels: Tensor
    """(B, *space) int64, the target classes."""
    losses: dict[str, float]
    """Loss terms of that step: `loss`, `bn`, `oh`, `adv` (the last three unweighted)."""
    update: MetaUpdate
    """What the generator learns from the batch."""


class InversionMethod(ABC):
    """Implements `Synthesizer` except for the optimisation of a batch.

    A subclass defines `noise_shape`, `first_images` and `optimise`. If its batches depend on each
    other, it also defines `state_dict` and `load_state_dict`, and for a generator that learns from
    them `shared` and `shared_generator`.
    """

    shared: SharedGenerator | None = None
    """The generator that learns from every batch. None: batches are independent."""

    def __init__(
        self,
        section: InversionSection,
        task: Task,
        index: int,
        adversarial_loss: AdversarialLoss,
        *,
        bn_momentum: float = 0.0,
    ):
        self.section, self.kind = section, task.kind
        self.normalisation, self.seed, self.index = task.normalisation, task.seed, index
        self.image_shape, self.device = tuple(task.image_shape), torch.device(task.device)
        self.objective = InversionObjective(
            task,
            (section.bn_weight, section.oh, section.adv),
            adversarial_loss,
            bn_momentum=bn_momentum,
            priors=PriorWeights.of(section),
        )
        self.clock = Clock(self.device)

    @classmethod
    def shared_generator(cls, section: Any, task: Task) -> SharedGenerator:
        """See `Synthesizer`. Not needed if the section's `shares_generator` is always false."""
        raise NotImplementedError(f"{cls.__name__} shares no generator")

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise for one image."""

    @abstractmethod
    def optimise(self, draws: Draws, adversarial: bool) -> Optimised:
        """Optimise a batch.

        Args:
            draws: its random inputs.
            adversarial: whether the loss has its adversarial term.

        Raises:
            DivergedError: a loss became NaN or infinite.
        """

    @abstractmethod
    def first_images(self, draws: Draws) -> Tensor:
        """The normalised images (B, C, H, W) with which the first step starts."""

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
        made, note = self.objective.make(
            lambda adversarial: self.optimise(self._draws(round, attempt), adversarial),
            round >= self.section.warmup_rounds,
            lambda: self.first_images(self._draws(round, attempt)),
        )
        images = to_uint8(made.images).contiguous()
        figures = batch_figures(made.answers, images)
        provenance = Provenance(
            round=round,
            synthesizer=self.index,
            student_version=self.objective.student_version,
            generator_version=0 if self.shared is None else self.shared.version,
            synthesis_seconds=self.clock.now() - start,
            losses=made.losses,
            figures=figures,
            note=note,
        )
        return SyntheticBatch(images=images, labels=made.labels, provenance=provenance), made.update

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

    def kept_patches(self, count: int, randomness: torch.Generator) -> Tensor | None:
        """Draw the pixels of `count` images that a step sees; None if it sees all.

        Without `patch_drop` nothing is drawn.
        """
        section = self.section
        if section.patch_drop == 0:
            return None
        height, width = self.image_shape[1:]
        patch = section.patch_size or PATCH
        return draw_patches(count, (height, width), section.patch_drop, patch, randomness)

    def _draws(self, round: int, attempt: int) -> Draws:
        """Draw noise and labels; a new attempt gets other ones."""
        section = self.section
        randomness = stream(self.seed, *batch_stream(round, attempt), device=self.device)
        noise = torch.randn(
            section.batch_size, *self.noise_shape, generator=randomness, device=self.device
        )
        labels = self.kind.draw_labels(
            len(noise), self.image_shape, section.balanced_labels, randomness
        )
        return Draws(round, noise, labels, randomness)
