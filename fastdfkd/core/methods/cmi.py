"""CMI (arXiv 2105.08584): a new generator for every batch, and a term that makes images differ.

    L = bn * L_bn + oh * L_oh + adv * L_adv + cr * L_cr

L_cr compares two views of each image by the teacher's features (`core/pooled_features.py`). The
global view is the one of the other terms (random crop and flip). The local view is a random part of
the image, resized. With a projection head h, a memory of features of earlier batches and a
temperature, row i of h(local views of the batch and the memory) shall be nearest to row i of
h(global views of the batch and the memory). The features of global views get no gradient; h learns
from both sides, by an Adam of its own in the same step.

The generator (weights N(0, 0.02), those of its norms N(1, 0.02), biases 0) and z are new for every
batch. The features of the kept step go into the memory.

Every synthesizer has a head and a memory of its own: several of them compare only with what they
made themselves. In lock-step the state travels with every call, because a restarted synthesizer
needs it: at most 0.54 GB for WRN-40-2, less than a second of processor time a round of 500 steps.
`features: stages` (352 numbers of an image in place of 2,704) makes it small.

Differs from the paper's code: a local view is sampled bilinearly from a part of any position;
features in the memory are rounded to float16; nothing happens when the memory is full, where that
code compares with nothing and stores images that are not trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.drawn_generator import class_vectors, drawn_generator
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.losses import contrastive_loss
from fastdfkd.core.methods.contrast import Contrast
from fastdfkd.core.methods.generator_inversion import GeneratorInversion
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.methods.loss_terms import TERMS
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.precision import autocast
from fastdfkd.core.random_streams import seeded
from fastdfkd.core.resized_crop import ResizedCrop
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods.cmi import CMISynthesis


class CMISynthesizer(GeneratorInversion):
    """Implements `Synthesizer`."""

    section: CMISynthesis

    def __init__(self, section: CMISynthesis, task: Task, index: int = 0):
        generator = drawn_generator(
            section,
            task.image_shape,
            task.seed,
            "generator",
            device=task.device,
            vectors=class_vectors(section, task),
        )
        names = (*TERMS, "cr") if section.cr > 0 else TERMS
        super().__init__(
            section, task, index, generator, lr_g=section.lr, lr_z=section.lr, terms=names
        )
        self.contrast: Contrast | None = None
        if section.cr > 0:
            count = self.objective.observe(section.features, self.image_shape)
            with seeded(self.seed, "projection-head", index):
                self.contrast = Contrast(count, section.memory, section.head_lr, self.device)
        self.shared = self.contrast

    def first_images(self, draws: RandomInputs) -> Tensor:
        """Images (B, C, H, W) of the batch's own generator and the noise, normalised."""
        initialise(self.generator, draws.randomness)
        return super().first_images(draws)

    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Draw a generator, optimise it and z; then the head and the memory's new rows."""
        section, contrast, randomness = self.section, self.contrast, draws.randomness
        initialise(self.generator, randomness)
        self.copies.begin(draws.noise, draws.labels)
        if contrast is not None:
            contrast.begin_batch()
        count = section.batch_size
        with self.objective.batch():
            for _ in range(self.steps):
                dy, dx, flip, _ = Augmentation.draw(
                    count, section.crop_padding, section.flip, False, randomness
                )
                kept = self.kept_patches(count, randomness)
                drawn = self._contrasted(randomness)
                self.step(adversarial, draws.labels, kept, dy, dx, flip, *drawn)
            images, answers, losses = self.copies.best.take(draws.round)
        update = MetaUpdate(draws.round, [])
        if contrast is not None:
            update = contrast.update_of(draws.round, self.copies.best.kept[2])
        return OptimisedBatch(images, answers, draws.labels, losses, update)

    def _contrasted(self, randomness: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        """Draw a step's local views and the slots of the memory; None without the term."""
        section = self.section
        if self.contrast is None:
            return None, None
        crop = ResizedCrop.draw(section.batch_size, section.local_scale, section.flip, randomness)
        return crop.theta, self.contrast.memory.draw(section.memory_draws, randomness)

    def _step(
        self,
        adversarial: bool,
        labels: Tensor,
        kept: Tensor | None,
        dy: Tensor,
        dx: Tensor,
        flip: Tensor,
        local: Tensor | None,
        slots: Tensor | None,
    ) -> None:
        """One step on the copies. It can be captured: no statement waits for the device.

        Args:
            adversarial: whether the loss has its adversarial term.
            labels: (B, *space) int64.
            kept: (B, 1, H, W) bool, the pixels that are seen; None: all.
            dy: a field of `Augmentation`.
            dx: likewise.
            flip: likewise.
            local: the field of `ResizedCrop`; None without the contrastive term.
            slots: (M,) int64, of the memory; likewise.
        """
        copies, contrast = self.copies, self.contrast
        images = self.images()
        terms = self.terms(images, Augmentation(dy, dx, flip), kept, labels, adversarial)
        if contrast is None or local is None or slots is None:
            copies.best.offer(terms, images, self.objective.answers)
            copies.step(terms[0])
            return
        pair = self._features(images, local)
        cr = self._contrastive_loss(contrast, *pair, contrast.memory.rows.index_select(0, slots))
        terms = torch.cat([(terms[0] + self.section.cr * cr)[None], terms[1:], cr.detach()[None]])
        copies.best.offer(terms, images, self.objective.answers, torch.cat(pair, 1))
        copies.step(terms[0])
        contrast.optimizer.step()
        contrast.optimizer.zero_grad()

    def _discard(self) -> None:
        """Drop the gradients that an interrupted step left, those of the head too."""
        super()._discard()
        if self.contrast is not None:
            self.contrast.optimizer.zero_grad()

    def _features(self, images: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D) of the local and the global views; the latter without a gradient."""
        assert self.objective.features is not None
        whole = self.objective.features.taken().detach()
        parts = self.normalisation(ResizedCrop(local)(images))
        return self.objective.features_of(parts), whole

    def _contrastive_loss(
        self, contrast: Contrast, local: Tensor, whole: Tensor, cached: Tensor
    ) -> Tensor:
        """L_cr of a batch's features (B, D) and rows (M, 2D) of the memory."""
        old_local, old_whole = cached.to(local.dtype).chunk(2, 1)
        with autocast(self.device, self.objective.precision):
            queries = contrast.head(torch.cat([local, old_local]))
            keys = contrast.head(torch.cat([whole, old_whole]))
        return contrastive_loss(queries, keys, len(local), self.section.cr_temperature)

    def state_dict(self) -> dict[str, Any]:
        """Head, its Adam and the memory; nothing without the contrastive term."""
        return {} if self.contrast is None else self.contrast.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        if self.contrast is not None:
            self.contrast.load_state_dict(state)


@torch.no_grad()
def initialise(generator: nn.Module, randomness: torch.Generator) -> None:
    """Draw all weights: N(0, 0.02), those of norms N(1, 0.02); biases 0."""
    for layer in generator.modules():
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if isinstance(weight, Tensor):
            mean = 1.0 if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) else 0.0
            weight.copy_(
                torch.randn(weight.shape, generator=randomness, device=weight.device) * 0.02 + mean
            )
        if isinstance(bias, Tensor):
            bias.zero_()
