"""The network that most strangers vary."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

SIDE, CHANNELS, CLASSES = 16, 1, 10


class Base(nn.Module):
    """Convolution, BatchNorm, ReLU, another, pooled to 4x4; a linear head. Subclasses vary it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(128, CLASSES)

    def maps(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        result: Tensor = self.pool(F.relu(self.bn2(self.conv2(x))))
        return result

    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def logits(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.flat(self.maps(x)))
        return result

    def forward(self, x: Tensor) -> Any:
        return self.logits(x)
