"""FastDFKD's synthesizer (Algorithm 1 of arXiv 2112.06253).

A batch is made by a few Adam steps on a copy of the meta-generator and on the latent codes. The
meta-generator then learns from the gradients or the weights of the copy (`core/meta_gradient.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.channel_moments import Moments
from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.core.methods.generator_inversion import GeneratorInversion
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import FastSynthesis


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


class FastSynthesizer(GeneratorInversion):
    """Implements `Synthesizer`."""

    section: FastSynthesis

    def __init__(self, section: FastSynthesis, task: Task, index: int = 0):
        self.shared = self.meta = self.shared_generator(section, task)
        super().__init__(
            section,
            task,
            index,
            self.meta.generator,
            lr_g=section.lr_g,
            lr_z=section.lr_z,
            bn_momentum=section.bn_momentum,
        )

    @classmethod
    def shared_generator(cls, section: FastSynthesis, task: Task) -> MetaGenerator:
        """The meta-generator in its initial state."""
        return MetaGenerator(section, task.image_shape, task.seed, task.device)

    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Run the inner loop with the noise as z and compute its meta-update."""
        round, labels = draws.round, draws.labels
        inner = self.inner_loop(draws.noise, labels, adversarial, draws.randomness, round)
        update = self.meta.update_of(round, inner.summed_gradients, inner.fast)
        return OptimisedBatch(inner.images, inner.answers, labels, inner.losses, update)

    def inner_loop(
        self,
        z: Tensor,
        labels: Tensor,
        adversarial: bool,
        randomness: torch.Generator,
        round: int = 0,
    ) -> InnerLoop:
        """Make k Adam steps on copies of theta and z. theta itself is not changed.

        Args:
            z: (B, latent_dim) latent codes.
            labels: (B, *space) int64.
            adversarial: whether the loss has its adversarial term.
            randomness: draws the augmentation of each step.
            round: number of the batch, for the error message.

        Raises:
            DivergedError: the loss of a step was NaN or infinite.
        """
        section, copies, statistics = self.section, self.copies, self.objective.statistics
        copies.begin(z)
        with self.objective.batch():
            for _ in range(self.steps):
                move = Augmentation.draw(
                    len(z), section.crop_padding, section.flip, section.invert, randomness
                )
                kind = adversarial, statistics.estimated
                kept = self.kept_patches(len(z), randomness)
                seen = self.step(*kind, labels, *move, kept)
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
        """State of the meta-generator and its optimiser, and the BatchNorm running estimates."""
        return {"meta": self.meta.state_dict(), "bn": self.objective.statistics.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.meta.load_state_dict(state["meta"])
        self.objective.statistics.load_state_dict(state["bn"])
