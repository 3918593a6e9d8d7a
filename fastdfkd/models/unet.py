"""A small encoder-decoder for maps of classes (U-Net, arXiv 1505.04597).

It differs from the paper in three points: every convolution is padded and followed by BatchNorm,
convolutions of stride 2 take the place of pooling, and maps are scaled up bilinearly to the size of
the map that they are joined with. Images may therefore have any height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.models.initialisation import initialise


class ConvBlock(nn.Module):
    """Two times 3x3 convolution, BatchNorm, ReLU; the first convolution has the stride."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class UNet(nn.Module):
    """Levels of `widths[i]` channels, each with half the sides of the one before, and back."""

    def __init__(self, widths: Sequence[int], num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        before = (in_channels, *widths[:-1])
        strides = (1, *[2] * (len(widths) - 1))
        blocks = zip(before, widths, strides, strict=True)
        self.down = nn.ModuleList(ConvBlock(*block) for block in blocks)
        joined = zip(widths[1:], widths[:-1], strict=True)
        self.up = nn.ModuleList(ConvBlock(low + skip, skip) for low, skip in joined)
        self.classify = nn.Conv2d(widths[0], num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes, H, W) of normalised images (B, in_channels, H, W)."""
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
        for skip, block in zip(maps[-2::-1], reversed(self.up), strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        logits: Tensor = self.classify(x)
        return logits
