"""The result of a synthesizer: a batch of images with labels and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fastdfkd.core.batch_figures import BatchFigures


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a batch was made."""

    round: int
    """Number of the round (one batch per round) in the run, from 0."""
    synthesizer: int = 0
    """Index of the synthesizer that made it."""
    student_version: int = 0
    """Version of the student used in the adversarial loss."""
    generator_version: int = 0
    """Number of meta-updates and resets of the shared generator before this batch."""
    synthesis_seconds: float = 0.0
    """Seconds from the draw of z to the finished uint8 batch, device synchronised."""
    steps: int = 0
    """Optimisation steps of the batch; 0: the method has no such steps."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Of the step whose images were kept: `loss`, and its terms `bn`, `oh`, `adv` unweighted."""
    figures: BatchFigures | None = None
    """Signs of a collapse. None: the method does not measure them."""
    note: str = ""
    """Deviation from the recipe and its reason; empty if there was none."""


@dataclass(frozen=True, kw_only=True)
class SyntheticBatch:
    """Images ready for the bank.

    Raises:
        ValueError: a tensor has another type or shape than stated below.
    """

    images: Tensor
    """(B, C, H, W) uint8."""
    labels: Tensor | None
    """(B,) or (B, H, W) int64: the target class of each image, or of each pixel. None: the method
    has no target classes."""
    provenance: Provenance

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype is not torch.uint8 or images.ndim != 4:
            raise ValueError(
                f"a batch's images are (B, C, H, W) uint8, got {tuple(images.shape)} {images.dtype}"
            )
        count, _, height, width = images.shape
        shapes = ((count,), (count, height, width))
        if labels is not None and (labels.dtype is not torch.int64 or labels.shape not in shapes):
            raise ValueError(
                f"a batch of {count} images needs {shapes[0]} or {shapes[1]} int64 labels, "
                f"got {tuple(labels.shape)} {labels.dtype}"
            )

    def timed(self, seconds: float) -> SyntheticBatch:
        """A copy of the batch with `synthesis_seconds` set."""
        return replace(self, provenance=replace(self.provenance, synthesis_seconds=seconds))


def to_uint8(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, rounded to the nearest of 256 levels. Keeps the shape."""
    return images.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)
