"""Base class of the methods that optimise each batch by Adam steps on a copy of a generator.

It has what such methods share: the copies, the loss of a step on their images, the priors, channel
exchange. Its subclasses name their papers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.captured import captured
from fastdfkd.core.channel_exchange import ChannelExchange
from fastdfkd.core.generators import Generator
from fastdfkd.core.losses import total_variation
from fastdfkd.core.methods.inner_copies import InnerCopies
from fastdfkd.core.methods.inversion import InversionMethod, RandomInputs
from fastdfkd.core.methods.loss_terms import TERMS, Best, plus
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.methods.priors import without_patches
from fastdfkd.core.precision import autocast
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import GeneratorSection


class GeneratorInversion(InversionMethod):
    """Implements `Synthesizer` except for what a step is and for the steps of a batch.

    A subclass defines `_step` and `optimise`.
    """

    section: GeneratorSection

    def __init__(
        self,
        section: GeneratorSection,
        task: Task,
        index: int,
        generator: Generator,
        *,
        lr_g: float,
        lr_z: float,
        bn_momentum: float = 0.0,
        terms: Sequence[str] = TERMS,
    ):
        """Build the objective and the tensors that a step changes.

        Args:
            section: of the method.
            task: teacher, student, image shape, seed and device.
            index: number of this synthesizer among several.
            generator: what every batch copies at its beginning.
            lr_g: learning rate of the copy.
            lr_z: learning rate of the latent codes, or of the noisy layers.
            bn_momentum: see `BatchNormStatistics`.
            terms: names of the loss terms, `TERMS` first.
        """
        super().__init__(section, task, index, task.kind.adversarial_loss, bn_momentum=bn_momentum)
        self.generator = generator
        self.rates, self.names = {"lr_g": lr_g, "lr_z": lr_z}, tuple(terms)
        self.copies = self.copies_for(self.noise_shape)
        self.draw = self.objective.compiling.part("the generator", self._draw, network=generator)
        self.step = captured(self._step, task.device, self.capturable(task), self._discard)

    @abstractmethod
    def _step(self, *arguments: Any) -> Any:
        """One step on the copies. It can be captured: no statement waits for the device."""

    def _discard(self) -> None:
        """Drop the gradients that an interrupted step left."""
        self.copies.drop_gradients()

    def copies_for(self, noise_shape: Sequence[int]) -> InnerCopies:
        """What a batch with noise of this shape trains."""
        count, best = self.section.batch_size, Best(self.names)
        return InnerCopies(self.generator, count, noise_shape, **self.rates, best=best)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """That of the generator."""
        return self.generator.noise_shape(self.section.batch_size)

    def first_images(self, draws: RandomInputs) -> Tensor:
        """Images (B, C, H, W) of the generator and the noise, normalised."""
        codes, others = self.generator.inputs(draws.noise, draws.labels)
        with autocast(self.device, self.objective.precision):
            images = self.generator(*codes, *others)
        return self.normalisation(images.to(draws.noise.dtype))

    def optimised(self, round: int, attempt: int, adversarial: bool) -> OptimisedBatch:
        """Optimise a batch, then exchange channels between its images if the recipe says so."""
        draws = self._draws(round, attempt)
        made = self.optimise(draws, adversarial)
        if self.section.channel_exchange == 0:
            return made
        return replace(made, images=self._exchanged(made.images, draws.randomness))

    @torch.no_grad()
    def _exchanged(self, images: Tensor, randomness: torch.Generator) -> Tensor:
        """`images` (B, C, H, W), some replaced by those of the copies with channels of two images.

        The copies are those after the last step: the weights of the kept step are gone.
        """
        exchange = ChannelExchange.draw(
            len(images), self.generator.widths, self.section.channel_exchange, randomness
        )
        with exchange.inside(self.generator):
            return exchange.chosen(self.images(), images)

    def images(self) -> Tensor:
        """The images (B, C, H, W) in [0, 1] that the copies generate now, in the type of codes."""
        with autocast(self.device, self.objective.precision):
            images: Tensor = self.draw(*self.copies.inputs())
        return images.to(self.copies.codes[0].dtype)

    def _draw(self, *inputs: Tensor) -> Tensor:
        """The images (B, C, H, W) in [0, 1] of `InnerCopies.inputs`."""
        return self.copies.images_of(*inputs)

    def terms(
        self,
        images: Tensor,
        move: Augmentation,
        kept: Tensor | None,
        labels: Tensor,
        adversarial: bool,
    ) -> Tensor:
        """The loss terms of images, in the order of `TERMS`, (4,).

        Args:
            images: (B, C, H, W) in [0, 1].
            move: applied before the networks see them.
            kept: (B, 1, H, W) bool, the pixels that are seen; None: all.
            labels: (B, *space) int64.
            adversarial: whether the loss has its adversarial term.
        """
        inputs = self.normalisation(move(images))
        terms = self.objective(without_patches(inputs, kept), labels, adversarial)
        if self.section.tv > 0:
            return plus(terms, self.section.tv * total_variation(self.normalisation(images)))
        return terms
