"""Random crop, flip, inversion and normalisation of a batch, on the device of the batch.

A crop from a zero-padded image followed by a flip moves pixels and drops some. Its gradient is the
reverse move. Both directions are one gather; neither needs a scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Augmentation(NamedTuple):
    """One random transformation per image of a batch.

    Output pixel (y, x) is input pixel (y + dy, x' + dx), with x' = x, or W - 1 - x where the image
    is flipped, and 0 outside the image. This equals "pad by p, crop at random, then flip".
    Inversion comes last and maps v to 1 - v (255 - v for uint8), padding included.
    """

    dy: Tensor
    """(B,) int64 in [-p, p]."""
    dx: Tensor
    """(B,) int64 in [-p, p]."""
    flip: Tensor
    """(B,) bool."""
    invert: Tensor | None = None
    """(B,) bool; None: no image is inverted."""

    @classmethod
    def draw(
        cls, count: int, padding: int, flip: bool, invert: bool, generator: torch.Generator
    ) -> Augmentation:
        """Draw transformations for `count` images.

        Args:
            count: B.
            padding: p in pixels; shifts are uniform in [-p, p].
            flip: flip each image with probability 1/2.
            invert: invert each image with probability 1/2.
            generator: source of the draws, on the device of the images.
        """
        device = generator.device
        low, high = -padding, padding + 1
        shifts = torch.randint(low, high, (2, count), generator=generator, device=device)

        def coin() -> Tensor:
            return torch.rand(count, generator=generator, device=device) < 0.5

        flips = coin() if flip else torch.zeros(count, dtype=torch.bool, device=device)
        return cls(shifts[0], shifts[1], flips, coin() if invert else None)

    def __call__(self, images: Tensor) -> Tensor:
        """Transform images (B, C, H, W), uint8 or float in [0, 1]; differentiable if float."""
        return _Move.apply(images, self)  # type: ignore[no-any-return, no-untyped-call]

    def apply(self, images: Tensor) -> Tensor:
        """Transform images (B, C, H, W) without autograd."""
        height, width = images.shape[2:]
        x = torch.arange(width, device=images.device)
        x = torch.where(self.flip[:, None], width - 1 - x, x) + self.dx[:, None]
        y = torch.arange(height, device=images.device) + self.dy[:, None]
        moved = _gather(images, y, x)
        if self.invert is None:
            return moved
        white = 255 if images.dtype is torch.uint8 else 1
        return torch.where(self.invert[:, None, None, None], white - moved, moved)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The transpose of the transformation, applied to a gradient (B, C, H, W).

        Each pixel goes back to the one place it came from, or is dropped. The gradient of an
        inverted image changes its sign.
        """
        height, width = gradient.shape[2:]
        x = torch.arange(width, device=gradient.device) - self.dx[:, None]
        inside = (x >= 0) & (x < width)
        x = torch.where(self.flip[:, None], width - 1 - x, x).masked_fill(~inside, -1)
        y = torch.arange(height, device=gradient.device) - self.dy[:, None]
        back = _gather(gradient, y, x)
        if self.invert is None:
            return back
        return torch.where(self.invert[:, None, None, None], -back, back)


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, move: Augmentation) -> Tensor:
        ctx.move = move
        return move.apply(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.move.adjoint(gradient), None


def _gather(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Pixels (y, x) of each image, 0 where an index lies outside. y: (B, H), x: (B, W)."""
    moved, inside = pixels_at(images, y, x)
    return moved * inside


def pixels_at(images: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (y, x) of each image, any where an index lies outside; and whether it lies inside.

    Args:
        images: (B, C, H, W).
        y: (B, h) int64.
        x: (B, w) int64.

    Returns:
        (B, C, h, w) of the type of the images, and (B, 1, h, w) bool.
    """
    count, channels, height, width = images.shape
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    index = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
    index = index.reshape(count, 1, -1).expand(-1, channels, -1)
    moved = images.reshape(count, channels, -1).gather(2, index)
    return moved.reshape(count, channels, *inside.shape[1:]), inside[:, None]


class Normalisation:
    """(x - mean) / std per channel for images in [0, 1], and its inverse."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | str):
        self.mean = torch.tensor(mean, device=device).reshape(1, -1, 1, 1)
        self.std = torch.tensor(std, device=device).reshape(1, -1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) float in [0, 1]."""
        return (images - self.mean) / self.std

    def from_uint8(self, images: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) uint8, in one fused multiply-add."""
        return torch.addcdiv(-self.mean / self.std, images.float(), 255 * self.std)

    def inverse(self, images: Tensor) -> Tensor:
        """Convert normalised images (B, C, H, W) back to [0, 1]; values are not clamped."""
        return images * self.std + self.mean
