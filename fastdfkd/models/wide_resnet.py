"""Wide residual networks with pre-activation blocks (Zagoruyko and Komodakis, arXiv 1605.07146).

Parameter names (`block1.layer.0.convShortcut`, ...) are those of the checkpoints of data-free
distillation papers, so these state dicts can be loaded unchanged.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.models.initialisation import initialise


class PreActivationBlock(nn.Module):
    """Branch of BN, ReLU, 3x3, BN, ReLU, 3x3, added to the shortcut.

    If the number of channels changes, the shortcut is a 1x1 convolution of the *activated* input.
    Otherwise it is the input.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.convShortcut = (
            nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            if in_channels != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        activated = F.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(activated)
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return residual + shortcut


class _Stage(nn.Module):
    def __init__(self, blocks: int, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            PreActivationBlock(in_channels, channels, stride),
            *(PreActivationBlock(channels, channels, 1) for _ in range(blocks - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class WideResNet(nn.Module):
    """WRN-`depth`-`width`: three stages of (depth - 4) / 6 blocks, 16, 32 and 64 times `width`."""

    def __init__(self, depth: int, width: int, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        if depth % 6 != 4:
            raise ValueError(f"depth: expected 6 * n + 4 (10, 16, 22, 28, 40, ...), got {depth}")
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.block1 = _Stage(blocks, 16, 16 * width, stride=1)
        self.block2 = _Stage(blocks, 16 * width, 32 * width, stride=2)
        self.block3 = _Stage(blocks, 32 * width, 64 * width, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised images (B, in_channels, H, W)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        x = F.adaptive_avg_pool2d(F.relu(self.bn1(x)), 1)
        logits: Tensor = self.fc(x.flatten(1))
        return logits
