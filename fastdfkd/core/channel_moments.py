"""Mean and variance of each channel of a batch, and normalisation by them, with their gradients.

They go through torch's batch-norm kernels, which read a map once whatever its layout. They are the
m and v of L_bn (`core/bn_statistics.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastdfkd.core import torch_versions

Moments = tuple[Tensor, Tensor]
"""Mean and variance, each (C,)."""
_SIDE = 16


def image_moments(x: Tensor) -> Moments:
    """Mean over images of an image's mean and unbiased variance of each channel, each (C,) float32.

    x is (B, C, ...) with at least one axis of positions.
    """
    exact = x if x.dtype is torch.float64 else x.float()
    positions = exact.flatten(2)
    correction = min(positions.shape[2] - 1, 1)
    return positions.mean((0, 2)), positions.var(2, correction=correction).mean(0)


def channel_moments(x: Tensor) -> Moments:
    """Mean and biased variance of each channel over batch and space, each (C,) float32.

    x is (B, C) or (B, C, ...) of a floating type. Forward and backward read it once each.
    """
    return _ChannelMoments.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _ChannelMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Moments:
        mean, var = moments(x)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        return moments_gradient(x, mean, *gradients)


def moments_gradient(
    x: Tensor, mean: Tensor, grad_mean: Tensor | None, grad_var: Tensor | None
) -> Tensor:
    """Gradient of x that comes through its moments, in the type and layout of x.

    It is affine in x per channel, grad_mean / n + 2 grad_var (x - mean) / n with n values per
    channel: one multiply-add. torch's batch-norm kernel computes it with float32 factors for x of
    any floating type.
    """
    count = x.numel() // x.shape[1]
    zero, one = torch.zeros_like(mean), torch.ones_like(mean)
    slope = zero if grad_var is None else 2 * grad_var / count
    offset = zero if grad_mean is None else grad_mean / count
    return normalised(x, (mean, one), slope, offset, eps=0.0)


def normalised(
    x: Tensor, statistics: Moments, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """BatchNorm of x (B, C, ...) with given mean and variance; keeps shape and type."""
    return torch_versions.batch_norm(x, *statistics, weight, bias, eps)


def moments(x: Tensor) -> Moments:
    """`channel_moments` without a gradient, from torch's batch-norm kernel.

    On the CPU that kernel sums a channel in one float32 register; the error is 1e-5 over 65,536
    values. Here 16 rows are viewed as one, with 16 times the channels, so that each sum has a
    sixteenth of the terms. The 16 partial moments are merged by Chan's formula; the error is 1e-6.
    """
    exact = torch.float64 if x.dtype is torch.float64 else torch.float32
    if x.device.type != "cpu":
        return torch_versions.batch_moments(x, exact)
    rows = x.movedim(1, -1).reshape(-1, x.shape[1]).contiguous()
    body = len(rows) // _SIDE * _SIDE
    parts = [rows[:body].view(-1, _SIDE * x.shape[1])] if body else []
    if body < len(rows):
        parts.append(rows[body:])
    stats = [(len(part), *torch_versions.batch_moments(part, exact)) for part in parts]
    means = torch.cat([mean.view(-1, x.shape[1]) for _, mean, _ in stats])
    variances = torch.cat([var.view(-1, x.shape[1]) for _, _, var in stats])
    sides = [(len(mean) // x.shape[1], size / len(rows)) for size, mean, _ in stats]
    weights = torch.cat([means.new_full((side, 1), weight) for side, weight in sides])
    mean = (weights * means).sum(0)
    return mean, (weights * (variances + (means - mean).square())).sum(0)
