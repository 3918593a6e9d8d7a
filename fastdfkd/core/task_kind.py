"""What a network answers: the one place that knows classification from segmentation.

A `TaskKind` gives the shapes of labels and logits, draws labels, and gives the losses and figures.
For a batch of B images (B, C, H, W) and K classes:

    kind             labels (B, *space)    logits (B, K, *space)    figures
    Classification   (B,)                  (B, K)                   top-1 and top-5 accuracy
    Segmentation     (B, H, W)             (B, K, H, W)             mean IoU and pixel accuracy

To add a kind, write a subclass here and name it in `KINDS`. No other module asks which kind it has.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from fastdfkd.core import losses
from fastdfkd.core.aligned_crop import AlignedCrop

if TYPE_CHECKING:
    from fastdfkd.recipe.image_input import TaskName

TOP = 5
"""The top-5 accuracy counts the labels among this many best classes."""


@dataclass(frozen=True)
class TaskKind(ABC):
    """A kind of task with its number of classes. The class axis of logits is axis 1."""

    num_classes: int

    spatial_axes: ClassVar[int]
    """Axes of `space`: 0 for one label per image, 2 for one label per pixel."""
    void: ClassVar[int | None] = None
    """Label that counts in no loss and no figure; None: every label is a class."""

    def space(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        """Axes that labels and logits share, for images of shape (C, H, W)."""
        return tuple(image_shape[1 : 1 + self.spatial_axes])

    def reads(self, shape: Sequence[int], wanted: Sequence[int]) -> bool:
        """Whether real images of a shape (C, H, W) fit networks for the shape `wanted`.

        With a class for each pixel they may be larger.
        """
        if not self.spatial_axes:
            return tuple(shape) == tuple(wanted)
        sides = zip(shape[1:], wanted[1:], strict=True)
        return shape[0] == wanted[0] and all(side >= least for side, least in sides)

    def logits_shape(self, count: int, image_shape: Sequence[int]) -> tuple[int, ...]:
        """(B, K, *space) of the logits for `count` images of shape (C, H, W)."""
        return (count, self.num_classes, *self.space(image_shape))

    @abstractmethod
    def draw_labels(
        self,
        count: int,
        image_shape: Sequence[int],
        balanced: bool,
        generator: torch.Generator,
        *,
        block: int = 1,
    ) -> Tensor:
        """Target labels (B, *space) int64 for `count` images of shape (C, H, W).

        Args:
            count: B.
            image_shape: (C, H, W).
            balanced: draw all classes equally often, up to one; otherwise each label uniformly.
            generator: draws, on the device of the labels.
            block: side of the squares of one class in maps; without effect where there are none.
        """

    def moved(self, labels: Tensor, move: AlignedCrop) -> Tensor:
        """The labels (B, *space) of images that `move` was applied to."""
        return labels

    def one_hot_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of logits (B, K, *space) with labels (B, *space); a scalar."""
        return losses.one_hot_loss(logits, labels, self.void)

    def adversarial_loss(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """Minus the mean of KL(T || S) where both networks agree; a scalar."""
        return losses.adversarial_loss(teacher_logits, student_logits)

    def distillation_loss(
        self, teacher_logits: Tensor, student_logits: Tensor, temperature: float
    ) -> Tensor:
        """temperature^2 times the mean KL(T || S); a scalar."""
        return losses.distillation_loss(teacher_logits, student_logits, temperature)

    def logit_distance(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """Mean absolute difference of the logits; a scalar."""
        return losses.logit_distance(teacher_logits, student_logits)

    @property
    @abstractmethod
    def figures(self) -> Mapping[str, str]:
        """Each figure's column name with its name in tables; students are compared by the first."""

    @abstractmethod
    def counts(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What the figures need to know of a batch, int64. Counts of batches and workers add up."""

    @abstractmethod
    def figures_of(self, counts: Tensor) -> dict[str, float]:
        """The figures, 0 to 1, from summed `counts`. NaN where nothing was counted."""

    def class_ious(self, counts: Tensor) -> Tensor:
        """Intersection over union of each class, (K,) float64, from summed `counts`.

        NaN for a class that is absent: no pixel is labelled or classified as it. (0,): the kind has
        no such figure.
        """
        return torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True)
class Classification(TaskKind):
    """One class per image."""

    spatial_axes = 0

    def draw_labels(
        self,
        count: int,
        image_shape: Sequence[int],
        balanced: bool,
        generator: torch.Generator,
        *,
        block: int = 1,
    ) -> Tensor:
        """Target classes, (B,) int64. The image shape has no influence."""
        return draw_classes(count, self.num_classes, balanced, generator)

    @property
    def figures(self) -> Mapping[str, str]:
        """Top-5 accuracy only where there are more than five classes: it is 1 otherwise."""
        names = {"accuracy": "accuracy", "top5_accuracy": "top-5 accuracy"}
        return names if self.num_classes > TOP else {"accuracy": names["accuracy"]}

    def counts(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(3,): images, images whose label is first, images whose label is among the best five.

        Of equal logits the class with the lower number comes first, as in argmax.
        """
        best = logits.argsort(dim=1, descending=True, stable=True)[:, :TOP]
        hits = best == labels[:, None]
        return torch.stack([hits.new_ones(len(hits)).sum(), hits[:, 0].sum(), hits.sum()])

    def figures_of(self, counts: Tensor) -> dict[str, float]:
        """Shares of the images."""
        images, *right = counts.tolist()
        return {name: _share(n, images) for name, n in zip(self.figures, right, strict=False)}


@dataclass(frozen=True)
class Segmentation(TaskKind):
    """One class per pixel. Pixels labelled `void` count in no loss and no figure."""

    spatial_axes = 2
    void = 255

    def draw_labels(
        self,
        count: int,
        image_shape: Sequence[int],
        balanced: bool,
        generator: torch.Generator,
        *,
        block: int = 1,
    ) -> Tensor:
        """Target maps, (B, H, W) int64; the class of each square is drawn on its own.

        FastDFKD's labels for segmentation are unpublished, so this is our choice.
        """
        height, width = self.space(image_shape)
        shape = (count, -(-height // block), -(-width // block))
        classes = draw_classes(math.prod(shape), self.num_classes, balanced, generator)
        if balanced:  # or the classes would repeat in one order along every row
            order = torch.randperm(len(classes), generator=generator, device=generator.device)
            classes = classes[order]
        squares = classes.reshape(shape)
        if block == 1:
            return squares
        maps = squares.repeat_interleave(block, 1).repeat_interleave(block, 2)
        return maps[:, :height, :width].contiguous()

    def moved(self, labels: Tensor, move: AlignedCrop) -> Tensor:
        """The same pixels of the maps; void outside the image."""
        return move.maps(labels, self.void)

    @property
    def figures(self) -> Mapping[str, str]:
        """Mean IoU, then the share of pixels classified correctly."""
        return {"mean_iou": "mIoU", "pixel_accuracy": "pixel accuracy"}

    def counts(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Confusion matrix (K, K): pixels of class [row] that are classified as [column]."""
        kept = labels != self.void
        pairs = labels[kept].long() * self.num_classes + logits.argmax(1)[kept]
        shape = (self.num_classes, self.num_classes)
        return torch.bincount(pairs, minlength=math.prod(shape)).reshape(shape)

    def figures_of(self, counts: Tensor) -> dict[str, float]:
        """Mean over the classes that occur, and share of the pixels."""
        right, pixels = int(counts.trace()), int(counts.sum())
        mean = float(self.class_ious(counts).nanmean())
        return {"mean_iou": mean, "pixel_accuracy": _share(right, pixels)}

    def class_ious(self, counts: Tensor) -> Tensor:
        """See `TaskKind`."""
        right = counts.diagonal().double()
        return right / (counts.sum(0) + counts.sum(1) - right)


KINDS: Mapping[TaskName, type[TaskKind]] = {
    "classification": Classification,
    "segmentation": Segmentation,
}
"""Kinds by `input.task` of a recipe."""


def draw_classes(
    count: int, num_classes: int, balanced: bool, generator: torch.Generator
) -> Tensor:
    """Classes, (count,) int64: uniform, or as equal in number as `count` allows."""
    device = generator.device
    if not balanced:
        return torch.randint(num_classes, (count,), generator=generator, device=device)
    order = torch.randperm(num_classes, generator=generator, device=device)
    return order[torch.arange(count, device=device) % num_classes]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
