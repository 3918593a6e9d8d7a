"""FastDFKD's synthesizer (Algorithm 1 of arXiv 2112.06253).

A batch is made by a few Adam steps on a copy of the meta-generator and on the latent codes. The
meta-generator then learns from the gradients or the weights of the copy (`core/meta_gradient.py`).
The loss is in `core/methods/objective.py`, the steps are in `core/methods/inner_loop.py`.

Latent codes are not meta-learned: they are new in every batch, or go on from the batch before
(`core/methods/kept_codes.py`). The adversarial term begins with the first round past warm-up; in
the authors' code with the last one of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fastdfkd.core.drawn_generator import class_vectors
from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.core.methods.inner_copies import InnerCopies
from fastdfkd.core.methods.inner_loop import InnerLoopMethod
from fastdfkd.core.methods.kept_codes import KeptCodes
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.spatial_generator import SpatialGenerator
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import FastSynthesis


class FastSynthesizer(InnerLoopMethod):
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
        self.codes = KeptCodes(section.keep_codes, task.device)
        self.full, self.by_side = self.copies, dict[int, InnerCopies]()
        for side in section.sizes or ():
            self._check_side(task, side)
            self.by_side[side] = self.copies_for(self.noise_shape_at(side))

    def _check_side(self, task: Task, side: int) -> None:
        """Check that the networks read images of this size.

        Raises:
            ValueError: they do not.
        """
        if task.kind.space(task.image_shape):
            raise ValueError("synthesis.sizes needs one class for each image: unset it for maps")
        images = torch.zeros(2, task.image_shape[0], side, side, device=self.device)
        try:
            with torch.no_grad():
                self.objective.teacher(task.teacher_use.images(images))
                seen = task.student_form(images) if task.student_form else images
                self.objective.student(task.student_use.images(seen))
        except Exception as error:  # a network can raise anything
            raise ValueError(
                f"synthesis.sizes: teacher or student cannot read images of {side} x {side} pixels "
                f"({error}): leave this size out"
            ) from error

    def noise_shape_at(self, side: int) -> tuple[int, ...]:
        """Shape of the noise of a batch of square images."""
        generator = self.generator
        assert isinstance(generator, SpatialGenerator)
        return generator.noise_shape(self.section.batch_size, side)

    def noise_shape_of(self, round: int) -> tuple[int, ...]:
        """That of the images' size in this round."""
        side = self.section.side_of(round)
        return self.noise_shape if side is None else self.noise_shape_at(side)

    def begin(self, round: int) -> None:
        """Take the copies for the images' size in this round."""
        self.side = self.section.side_of(round)
        self.copies = self.full if self.side is None else self.by_side[self.side]

    def kept_patches(self, count: int, randomness: torch.Generator) -> Tensor | None:
        """As for every method, cut to the size of this round's images."""
        kept = super().kept_patches(count, randomness)
        return kept if kept is None or self.side is None else kept[..., : self.side, : self.side]

    def optimised(self, round: int, attempt: int, adversarial: bool) -> OptimisedBatch:
        """Optimise a batch; images of another size are resized to that of the teacher's images."""
        made = super().optimised(round, attempt, adversarial)
        if self.side is None:
            return made
        size = list(self.image_shape[1:])
        images = F.interpolate(made.images, size, mode="bilinear", antialias=True)
        return replace(made, images=images.clamp(0, 1))

    @classmethod
    def shared_generator(cls, section: FastSynthesis, task: Task) -> MetaGenerator:
        """The meta-generator in its initial state."""
        vectors = class_vectors(section, task)
        return MetaGenerator(section, task.image_shape, task.seed, task.device, vectors)
