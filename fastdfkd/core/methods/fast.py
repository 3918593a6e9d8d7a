"""FastDFKD's synthesizer (Algorithm 1 of arXiv 2112.06253).

A batch is a few Adam steps on a copy of the shared generator and on the latent codes; what those
steps did to the copy is what the shared generator learns from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8
from fastdfkd.core.bn_statistics import Moments
from fastdfkd.core.capture_trial import capturable
from fastdfkd.core.captured import captured
from fastdfkd.core.clock import Clock
from fastdfkd.core.interfaces import MetaUpdate, StateDict
from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.core.methods.inner_copies import InnerCopies
from fastdfkd.core.methods.objective import InversionObjective
from fastdfkd.core.precision import autocast
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import FastSynthesis


@dataclass(frozen=True)
class InnerLoop:
    """What k steps on one batch produced. The next batch overwrites the tensors."""

    images: Tensor
    """(B, C, H, W) float in [0, 1], of the lowest-loss step."""
    losses: dict[str, float]
    """Loss terms of that step: `loss`, `bn`, `oh`, `adv` (the last three unweighted)."""
    summed_gradients: list[Tensor]
    """Sum over the steps of dL/dtheta', for each generator parameter."""
    fast: list[Tensor]
    """theta'_k, for each generator parameter."""
    labels: Tensor
    """(B, *space) int64, the classes the images were pulled towards."""


class FastSynthesizer:
    """Implements `Synthesizer`."""

    def __init__(self, section: FastSynthesis, task: Task, index: int = 0):
        self.section, self.kind = section, task.kind
        self.image_shape = task.image_shape
        self.normalisation, self.seed, self.index = task.normalisation, task.seed, index
        self.device = torch.device(task.device)
        self.objective = InversionObjective(
            task,
            (section.bn, section.oh, section.adv),
            task.kind.adversarial_loss,
            bn_momentum=section.bn_momentum,
        )
        self.meta = MetaGenerator(section, task.image_shape, task.seed, task.device)
        self.copies = InnerCopies(self.meta.generator, section)
        self.step = captured(self._step, task.device, task.capture and self._capturable(task))
        self.clock = Clock(self.device)

    def _capturable(self, task: Task) -> bool:
        """Whether both networks can be part of a captured step."""
        networks = (
            (self.objective.fused_teacher, task.teacher_use),
            (self.objective.fused_student, task.student_use),
        )
        return all(
            capturable(network, use, task.image_shape, task.device, task.precision)
            for network, use in networks
        )

    def load_student(self, state: StateDict, version: int) -> None:
        """Take the student's newest weights for the adversarial loss."""
        self.objective.load_student(state, version)

    def make(self, round: int, attempt: int = 0) -> tuple[SyntheticBatch, MetaUpdate]:
        """Synthesise batch `round`; everything random follows from (seed, round, attempt)."""
        section = self.section
        start = self.clock.now()

        def optimised(adversarial: bool) -> InnerLoop:
            z, labels, randomness = self._draws(round, attempt)
            return self.inner_loop(z, labels, adversarial, randomness, round)

        adversarial = round >= section.warmup_rounds
        inner, note = self.objective.make(
            optimised, adversarial, lambda: self._first_images(round, attempt)
        )
        images = to_uint8(inner.images).contiguous()
        batch = SyntheticBatch(
            images=images,
            labels=inner.labels,
            provenance=Provenance(
                round=round,
                synthesizer=self.index,
                student_version=self.objective.student_version,
                generator_version=self.meta.version,
                synthesis_seconds=self.clock.now() - start,
                losses=inner.losses,
                note=note,
            ),
        )
        return batch, self.meta.update_of(round, inner.summed_gradients, inner.fast)

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Move the shared generator."""
        self.meta.learn(updates)

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        """`make`, then `learn` from it. The meta-update counts as synthesis time."""
        self.meta.begin(round)
        batch, update = self.make(round, attempt)
        start = self.clock.now()
        self.learn([update])
        seconds = batch.provenance.synthesis_seconds + self.clock.now() - start
        return batch.timed(seconds)

    def inner_loop(
        self,
        z: Tensor,
        labels: Tensor,
        adversarial: bool,
        randomness: torch.Generator,
        round: int = 0,
    ) -> InnerLoop:
        """K Adam steps on copies of theta and z. theta itself is not changed.

        Args:
            z: (B, latent_dim) latent codes.
            labels: (B, *space) int64.
            adversarial: whether the student takes part.
            randomness: draws the augmentation of each step.
            round: named in the error if every loss is NaN or infinite.
        """
        section, copies, statistics = self.section, self.copies, self.objective.statistics
        copies.begin(z)
        with self.objective.batch():
            for _ in range(section.steps):
                move = Augmentation.draw(
                    len(z), section.crop_padding, section.flip, section.invert, randomness
                )
                kind = adversarial, statistics.estimated
                seen = self.step(*kind, labels, *move)
            statistics.record_all(seen)
            kept, losses = copies.best.take(round)
        return InnerLoop(kept, losses, copies.summed, [p.detach() for p in copies.fast], labels)

    def _draws(self, round: int, attempt: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Z (B, latent_dim) and labels (B, *space) of a batch, and the stream after them."""
        section = self.section
        randomness = stream(self.seed, *batch_stream(round, attempt), device=self.device)
        z = torch.randn(
            section.batch_size, section.latent_dim, generator=randomness, device=self.device
        )
        labels = self.kind.draw_labels(
            len(z), self.image_shape, section.balanced_labels, randomness
        )
        return z, labels, randomness

    def _first_images(self, round: int, attempt: int) -> Tensor:
        """Images (B, C, H, W) of a batch before its first step, normalised."""
        z = self._draws(round, attempt)[0]
        with autocast(self.device, self.objective.precision):
            images = self.meta.generator(z)
        return self.normalisation(images.to(z.dtype))

    def _step(
        self,
        adversarial: bool,
        _estimated: bool,
        labels: Tensor,
        dy: Tensor,
        dx: Tensor,
        flip: Tensor,
        invert: Tensor | None,
    ) -> dict[str, Moments]:
        """One inner step on the copies, as `captured` wants it: nothing here waits for the device.

        Args:
            adversarial: whether the student takes part.
            _estimated: whether there are running estimates to mix the statistics with.
            labels: (B, *space) int64.
            dy: a field of `Augmentation`.
            dx: likewise.
            flip: likewise.
            invert: likewise.

        Returns:
            The teacher's BatchNorm statistics in this step.
        """
        copies, objective = self.copies, self.objective
        with autocast(self.device, objective.precision):
            images = copies.images()
        images = images.to(copies.z.dtype)
        inputs = self.normalisation(Augmentation(dy, dx, flip, invert)(images))
        terms = objective(inputs, labels, adversarial)
        copies.best.offer(terms, images)
        copies.step(terms[0])
        return objective.statistics.newest

    def state_dict(self) -> dict[str, Any]:
        """Shared generator with its optimiser, and the BatchNorm running estimates."""
        return {"meta": self.meta.state_dict(), "bn": self.objective.statistics.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.meta.load_state_dict(state["meta"])
        self.objective.statistics.load_state_dict(state["bn"])
