"""Residual networks for small images (He et al., arXiv 1512.03385, Sec. 4.2).

A 3x3 stem without pooling is followed by stages of two-convolution blocks. From the second stage
on, the first block of a stage halves the sides. A block that changes the shape has a projection
shortcut (1x1 convolution and BatchNorm). Parameter names are those of common CIFAR checkpoints.

With `norm=group_norm` every BatchNorm is a GroupNorm, which has no running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.models.initialisation import initialise

SAFE_CHANNELS = 16
"""Fewest input channels of a strided 1x1 convolution.

With fewer, oneDNN's weight gradient for channels-last tensors writes outside its memory (torch 2.9
to 2.14, oneDNN issue 6035). Such a shortcut selects its pixels first and convolves without stride.
"""


GROUPS = 8
"""Groups of a GroupNorm."""
Norm = Callable[[int], nn.Module]
"""Takes a number of channels, returns a normalisation layer."""


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm (arXiv 1803.08494) with `GROUPS` groups."""
    return nn.GroupNorm(GROUPS, channels)


class ResidualBlock(nn.Module):
    """Branch of 3x3, norm, ReLU, 3x3, norm, added to the shortcut, then ReLU."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.shortcut = nn.Sequential()
        self.picks = stride if in_channels < SAFE_CHANNELS else 1
        if stride != 1 or in_channels != channels:
            rest = stride // self.picks
            self.shortcut.append(nn.Conv2d(in_channels, channels, 1, rest, bias=False))
            self.shortcut.append(norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        picked = x if self.picks == 1 else x[:, :, :: self.picks, :: self.picks]
        return F.relu(residual + self.shortcut(picked))


class ResidualStages(nn.Module):
    """A stem and stages of `blocks[i]` blocks with `widths[i]` channels. It returns maps.

    Weights are torch's defaults: whoever builds on it calls `initialise`.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        in_channels: int = 3,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise ValueError(
                f"expected one width for every stage, got {len(blocks)} numbers of blocks and "
                f"{len(widths)} widths"
            )
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = norm(widths[0])
        self.stages = [f"layer{index}" for index in range(1, len(blocks) + 1)]
        before = widths[0]
        for name, count, width in zip(self.stages, blocks, widths, strict=True):
            stride = 1 if name == "layer1" else 2
            rest = (ResidualBlock(width, width, 1, norm) for _ in range(count - 1))
            self.add_module(name, nn.Sequential(ResidualBlock(before, width, stride, norm), *rest))
            before = width

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, widths[-1], H', W'), H' = H / 2 ** (stages - 1)."""
        x = F.relu(self.bn1(self.conv1(x)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return x


class ResidualNetwork(ResidualStages):
    """Stages of `blocks[i]` blocks with `widths[i]` channels, followed by one linear layer."""

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__(blocks, widths, in_channels, norm)
        self.linear = nn.Linear(widths[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised images (B, in_channels, H, W)."""
        maps = super().forward(x)
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(maps, 1).flatten(1))
        return logits
