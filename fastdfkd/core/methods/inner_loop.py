"""Base class of the methods that make a batch by k Adam steps on a copy of a reused generator.

A subclass has a shared generator that learns from the summed gradients or the weights of the copy.
Source: the inner loop of Algorithm 1 of arXiv 2112.06253. As in its authors' code, the images of
the step with the lowest loss are kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.channel_moments import Moments
from fastdfkd.core.generators import Generator
from fastdfkd.core.interfaces import MetaUpdate, SharedGenerator
from fastdfkd.core.methods.generator_inversion import GeneratorInversion
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.methods.kept_codes import NO_CODES, KeptCodes
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import FastSynthesis, NAYERSynthesis


class ReusedGenerator(SharedGenerator, Protocol):
    """A generator that learns from the steps of its copies."""

    generator: Generator

    def update_of(
        self, round: int, summed_gradients: Sequence[Tensor], fast: Sequence[Tensor]
    ) -> MetaUpdate:
        """What to learn from a batch, from tensors for each parameter in order.

        Args:
            round: number of the batch.
            summed_gradients: sum of the inner gradients.
            fast: last weights of the copy.
        """


@dataclass(frozen=True)
class InnerLoop:
    """Result of the k steps on a batch. The next batch overwrites its tensors."""

    images: Tensor
    """(B, C, H, W) float in [0, 1], of the step with the lowest loss."""
    answers: Tensor
    """The teacher's logits in that step, (B, K, *space)."""
    losses: dict[str, float]
    """Loss terms of that step: `loss`, `bn`, `oh`, `adv` (the last three unweighted)."""
    summed_gradients: list[Tensor]
    """Sum over the steps of dL/dtheta', for each generator parameter."""
    fast: list[Tensor]
    """theta'_k, for each generator parameter."""


class InnerLoopMethod(GeneratorInversion):
    """Implements `Synthesizer`. A subclass chooses the generator and the learning rates."""

    section: FastSynthesis | NAYERSynthesis
    shared: ReusedGenerator
    side: int | None = None
    """Of the images of the current round, while they are made; None: that of all rounds."""
    codes: KeptCodes = NO_CODES
    """Latent codes that a batch goes on with."""

    @classmethod
    @abstractmethod
    def shared_generator(cls, section: Any, task: Task) -> ReusedGenerator:
        """The generator in its initial state."""

    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Run the inner loop and compute what the shared generator learns from it."""
        round, labels = draws.round, draws.labels
        noise = self.codes.begin(draws)
        self.begin(round)
        inner = self.inner_loop(noise, labels, adversarial, draws.randomness, round)
        self.codes.end(round, self.copies.codes)
        update = self.shared.update_of(round, inner.summed_gradients, inner.fast)
        return OptimisedBatch(inner.images, inner.answers, labels, inner.losses, update)

    def begin(self, round: int) -> None:
        """Prepare for a round whose copies may differ from those of the round before."""

    def inner_loop(
        self,
        noise: Tensor,
        labels: Tensor,
        adversarial: bool,
        randomness: torch.Generator,
        round: int = 0,
    ) -> InnerLoop:
        """Make k Adam steps on copies of theta and the codes. theta itself is not changed.

        Args:
            noise: of the shape `noise_shape`: latent codes z, or weights of noisy layers.
            labels: (B, *space) int64.
            adversarial: whether the loss has its adversarial term.
            randomness: draws the augmentation of each step.
            round: number of the batch, for the error message.

        Raises:
            DivergedError: the loss of a step was NaN or infinite.
        """
        section, copies, statistics = self.section, self.copies, self.objective.statistics
        count = section.batch_size
        copies.begin(noise, labels)
        with self.objective.batch():
            for _ in range(self.steps):
                move = Augmentation.draw(
                    count, section.crop_padding, section.flip, section.invert, randomness
                )
                kind = adversarial, statistics.estimated
                kept = self.kept_patches(count, randomness)
                seen = self.step(*kind, labels, *move, kept, self.side)
            statistics.record_all(seen)
            best, answers, losses = copies.best.take(round)
        fast = [p.detach() for p in copies.fast]
        return InnerLoop(best, answers, losses, copies.summed, fast)

    def _step(
        self,
        adversarial: bool,
        _estimated: bool,
        labels: Tensor,
        dy: Tensor,
        dx: Tensor,
        flip: Tensor,
        invert: Tensor | None,
        kept: Tensor | None,
        _side: int | None = None,
    ) -> dict[str, Moments]:
        """One inner step on the copies. It can be captured: no statement waits for the device.

        Args:
            adversarial: whether the loss has its adversarial term.
            _estimated: whether running estimates exist. It is an argument because a captured step
                is recorded once for each combination of such values.
            labels: (B, *space) int64.
            dy: a field of `Augmentation`.
            dx: likewise.
            flip: likewise.
            invert: likewise.
            kept: (B, 1, H, W) bool, the pixels that are seen; None: all.
            _side: of the images, an argument for the same reason as `_estimated`; None: that of all
                rounds.

        Returns:
            The teacher's BatchNorm statistics in this step.
        """
        copies, objective = self.copies, self.objective
        images = self.images()
        terms = self.terms(images, Augmentation(dy, dx, flip, invert), kept, labels, adversarial)
        copies.best.offer(terms, images, objective.answers)
        copies.step(terms[0])
        return objective.statistics.newest

    def state_dict(self) -> dict[str, Any]:
        """State of the shared generator, the BatchNorm running estimates, and kept codes."""
        state = {"meta": self.shared.state_dict(), "bn": self.objective.statistics.state_dict()}
        return {**state, **self.codes.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.shared.load_state_dict(state["meta"])
        self.objective.statistics.load_state_dict(state["bn"])
        self.codes.load_state_dict(state)
