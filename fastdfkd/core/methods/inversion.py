"""Base class of the methods that optimise each batch with `InversionObjective`.

It draws the random inputs of a batch, which follow from seed, round and attempt. Its subclasses
name their papers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.core.bn_statistics import FORMS
from fastdfkd.core.class_passes import classes_of_round
from fastdfkd.core.methods.method import Method, OptimisedBatch
from fastdfkd.core.methods.objective import AdversarialLoss, InversionObjective
from fastdfkd.core.methods.priors import PATCH, PriorWeights, draw_patches
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import InversionSection


@dataclass(frozen=True)
class RandomInputs:
    """The random inputs of a batch."""

    round: int
    """Number of the batch."""
    noise: Tensor
    """Of shape `noise_shape`, standard normal."""
    labels: Tensor
    """(B, *space) int64, the target classes."""
    randomness: torch.Generator
    """The batch's random stream after noise and labels were drawn from it."""
    attempt: int = 0
    """How often the batch was made before."""


class InversionMethod(Method):
    """Implements `Synthesizer` except for the optimisation of a batch.

    A subclass defines `noise_shape`, `first_images` and `optimise`, and what `Method` asks for if
    its batches depend on each other.
    """

    section: InversionSection

    def __init__(
        self,
        section: InversionSection,
        task: Task,
        index: int,
        adversarial_loss: AdversarialLoss,
        *,
        bn_momentum: float = 0.0,
    ):
        objective = InversionObjective(
            task,
            (section.bn_weight, section.oh, section.adv),
            adversarial_loss,
            bn_momentum=bn_momentum,
            bn_loss=FORMS[section.statistics],
            priors=PriorWeights.of(section),
            own_labels=section.labels == "teacher",
        )
        if section.balance_over == "rounds" and task.kind.space(task.image_shape):
            raise ValueError(
                "synthesis.balance_over: rounds needs one class for each image, and this task has "
                "one for each pixel: set it to batch"
            )
        super().__init__(section, task, index, objective)

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise of a batch."""

    def noise_shape_of(self, round: int) -> tuple[int, ...]:
        """Shape of the noise of a round: the same in all rounds, unless a method says otherwise."""
        return self.noise_shape

    @abstractmethod
    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Optimise a batch; its images and losses are those of the step with the lowest loss.

        Args:
            draws: its random inputs.
            adversarial: whether the loss has its adversarial term.

        Raises:
            DivergedError: a loss became NaN or infinite.
        """

    @abstractmethod
    def first_images(self, draws: RandomInputs) -> Tensor:
        """The normalised images (B, C, H, W) with which the first step starts."""

    def optimised(self, round: int, attempt: int, adversarial: bool) -> OptimisedBatch:
        """Draw the random inputs of a batch and optimise it."""
        return self.optimise(self._draws(round, attempt), adversarial)

    def first_inputs(self, round: int, attempt: int) -> Tensor:
        """`first_images` of a batch's random inputs."""
        return self.first_images(self._draws(round, attempt))

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

    def _draws(self, round: int, attempt: int) -> RandomInputs:
        """Draw noise and labels; a new attempt gets other ones."""
        section = self.section
        randomness = stream(self.seed, *batch_stream(round, attempt), device=self.device)
        noise = torch.randn(self.noise_shape_of(round), generator=randomness, device=self.device)
        if section.balance_over == "rounds":
            count, classes = section.batch_size, self.kind.num_classes
            labels = classes_of_round(self.seed, round, count, classes, self.device)
        else:
            labels = self.kind.draw_labels(
                section.batch_size,
                self.image_shape,
                section.balanced_labels,
                randomness,
                block=section.label_block,
            )
        return RandomInputs(round, noise, labels, randomness, attempt)
