"""Figures of a synthesised batch that show whether its images have collapsed.

They are measured on results that synthesis has anyway: the teacher's logits in the step whose
images were kept, and the finished images. Nothing that is computed later depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ALIKE = 0.25
"""Two images are alike if their root mean square distance is below this share of the standard
deviation of all pixels of the sample."""
COMPARED = 64
"""Images of a batch that are compared with each other, evenly spread over it."""


@dataclass(frozen=True, kw_only=True)
class BatchFigures:
    """Figures of one batch. Images are counted as `labels` are: for segmentation, pixels are."""

    confidence: float
    """Mean over the images of the teacher's largest class probability, 1/K to 1."""
    classes: dict[int, int]
    """Images by the class that the teacher assigns to them; classes without any are left out."""
    distinct: float
    """Share of the compared images after the first that resemble no image before them, 0 to 1.
    One image is distinct."""


@torch.no_grad()
def batch_figures(logits: Tensor, images: Tensor) -> BatchFigures:
    """Measure a batch. Waits for the device.

    Args:
        logits: the teacher's, (B, K, *space), finite.
        images: (B, C, H, W) uint8.
    """
    largest, classes = logits.max(1)
    confidence = torch.exp(largest - logits.logsumexp(1)).mean()
    counts = torch.bincount(classes.flatten(), minlength=logits.shape[1]).double()
    numbers = torch.cat([confidence.double()[None], distinct_share(images)[None], counts])
    first, second, *counted = numbers.tolist()  # one copy from the device
    return BatchFigures(
        confidence=first,
        classes={index: int(count) for index, count in enumerate(counted) if count},
        distinct=second,
    )


def distinct_share(images: Tensor) -> Tensor:
    """`BatchFigures.distinct` of images (B, C, H, W) uint8; a float64 scalar on their device.

    Images of one flat colour each are compared like others. If all pixels are equal, the images are
    alike.
    """
    picked = torch.linspace(0, len(images) - 1, min(len(images), COMPARED), device=images.device)
    pixels = images[picked.round().long()].flatten(1).float()
    pixels = pixels - pixels.mean()
    products = pixels @ pixels.T
    squares = products.diagonal()
    distances = (squares[:, None] + squares - 2 * products) / pixels.shape[1]
    alike = distances <= ALIKE**2 * pixels.square().mean()
    distinct = ~alike.tril(-1).any(1)[1:]
    return distinct.double().mean() if len(distinct) else distinct.new_ones((), dtype=torch.double)
