"""Random part of each image, resized to the whole size and perhaps mirrored."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_WIDEST = 4 / 3
"""Largest ratio of width to height of a part, relative to the image's; the smallest is its
inverse."""


class ResizedCrop(NamedTuple):
    """One part per image. It is differentiable and draws nothing when it is applied."""

    theta: Tensor
    """(B, 2, 3) float: the affine map from output to input coordinates in [-1, 1], as
    `F.affine_grid` takes it."""

    @classmethod
    def draw(
        cls, count: int, smallest: float, flip: bool, generator: torch.Generator
    ) -> ResizedCrop:
        """Draw parts of `count` images.

        Area, ratio of the sides and position are uniform, the ratio on a logarithmic scale. A side
        longer than the image is cut to the image's.

        Args:
            count: B.
            smallest: smallest share of an image's area, in (0, 1]; the largest is 1.
            flip: mirror each part with probability 1/2.
            generator: source of the draws, on the device of the images.
        """
        device = generator.device
        area, ratio, x, y, mirrored = torch.rand(5, count, generator=generator, device=device)
        area = smallest + (1 - smallest) * area
        ratio = ((2 * ratio - 1) * math.log(_WIDEST)).exp()
        width = (area * ratio).sqrt().clamp_max(1)
        height = (area / ratio).sqrt().clamp_max(1)
        left, top = (1 - width) * (2 * x - 1), (1 - height) * (2 * y - 1)
        sign = torch.where(mirrored < 0.5, -1.0, 1.0) if flip else torch.ones_like(width)
        zero = torch.zeros_like(width)
        rows = torch.stack([width * sign, zero, left, zero, height, top], 1)
        return cls(rows.reshape(count, 2, 3))

    def __call__(self, images: Tensor) -> Tensor:
        """The parts of images (B, C, H, W) float, (B, C, H, W); bilinear."""
        grid = F.affine_grid(self.theta.to(images.dtype), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
