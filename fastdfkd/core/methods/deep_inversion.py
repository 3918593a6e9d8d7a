"""DeepInversion (arXiv 1912.08795): optimise the pixels of every image, starting from noise.

    L = bn * R_feature + oh * CE(t, y) + adv * R_compete + tv * R_TV + l2 * R_l2

The names are the paper's: R_feature is L_bn (`core/bn_statistics.py`), with norms as in the
authors' code, where the paper squares them. R_compete, the term of Adaptive DeepInversion, is minus
the Jensen-Shannon divergence of teacher and student (`core/losses.py`), without the constant 1.
In each step the batch is rolled and perhaps flipped as a whole.

It is the reference of all speed-ups, with the settings of that comparison (arXiv 2112.06253) as
defaults. Differs from the code of the comparison: the images of the best step are kept, not those
of the last; the student's own L_bn is no part of the loss; the divergence is that of both networks
from their mixture M, where that code has KL(M || T) and KL(M || S), clamped. Differs from the
authors' code: pixels are clamped to the range of images for every data set, there for ImageNet
alone; the first BatchNorm weighs as much as the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.losses import jensen_shannon_adversarial_loss, total_variation
from fastdfkd.core.methods.inversion import InversionMethod, RandomInputs
from fastdfkd.core.methods.loss_terms import Best
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.methods.priors import without_patches
from fastdfkd.core.optimizers import Adam
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import DeepInversionSynthesis

BETAS = (0.5, 0.99)


class DeepInversion(InversionMethod):
    """Implements `Synthesizer`. Batches are independent of each other."""

    section: DeepInversionSynthesis

    def __init__(self, section: DeepInversionSynthesis, task: Task, index: int = 0):
        super().__init__(section, task, index, jensen_shannon_adversarial_loss)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """(B, C, H, W)."""
        return (self.section.batch_size, *self.image_shape)

    def first_images(self, draws: RandomInputs) -> Tensor:
        """The noise, unchanged."""
        return draws.noise

    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Optimise normalised pixels by Adam; clamp them to the range of images in [0, 1]."""
        section, noise = self.section, draws.noise
        low = self.normalisation(torch.zeros_like(noise[:1]))
        high = self.normalisation(torch.ones_like(noise[:1]))
        x = noise.contiguous(memory_format=torch.channels_last).requires_grad_()
        optimizer = Adam([x], section.lr, BETAS)
        moves = self._moves(draws.randomness)
        best = Best()
        with self.objective.batch():
            for step, (shift_y, shift_x, flip) in enumerate(moves):
                pooled = step < section.pooled_steps
                if step and step == section.pooled_steps:
                    optimizer.forget()
                    best.forget()  # the losses of the two resolutions cannot be compared
                optimizer.set_lr(section.lr_of(step))
                seen = x.roll((shift_y, shift_x), (2, 3))
                seen = seen.flip(3) if flip else seen
                seen = F.avg_pool2d(seen, 2) if pooled else seen
                kept = self._kept(seen, draws.randomness)
                terms = self.objective(without_patches(seen, kept), draws.labels, adversarial)
                loss = terms[0]
                if section.tv > 0:
                    loss = loss + section.tv * total_variation(x)
                if section.l2 > 0:
                    loss = loss + section.l2 * torch.linalg.vector_norm(x)
                terms = torch.cat([loss.detach()[None], terms[1:].detach()])
                best.offer(terms, x, self.objective.answers)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                with torch.no_grad():
                    x.clamp_(low, high)
            kept, answers, losses = best.take(draws.round)
        images = self.normalisation.inverse(kept)
        return OptimisedBatch(images, answers, draws.labels, losses, MetaUpdate(draws.round, []))

    def _kept(self, seen: Tensor, randomness: torch.Generator) -> Tensor | None:
        """The pixels that a step sees, (B, 1, h, w) bool for images (B, C, h, w); None: all."""
        kept = self.kept_patches(len(seen), randomness)
        return kept if kept is None else kept[:, :, : seen.shape[2], : seen.shape[3]]

    def _moves(self, randomness: torch.Generator) -> list[list[int]]:
        """Draw the roll in y, the roll in x and the flip of the batch for each step, (steps, 3).

        They are copied from the device once, before the first step.
        """
        section = self.section
        steps, device = (self.steps,), self.device
        height, width = self.image_shape[1:]
        columns = []
        for side in (height, width):
            limit = int(side * section.jitter)
            columns.append(
                torch.randint(-limit, limit + 1, steps, generator=randomness, device=device)
            )
        flips = torch.randint(2, steps, generator=randomness, device=device)
        columns.append(flips if section.flip else torch.zeros_like(flips))
        return torch.stack(columns, 1).tolist()
