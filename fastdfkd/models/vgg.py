"""VGG with BatchNorm for small images (Simonyan and Zisserman, arXiv 1409.1556, column A).

This is the CIFAR variant of distillation papers: five groups of convolutions, max-pooling after
the first three groups (and after the fourth if images have 64 pixels or more per side), average
pooling at the end, and one linear layer. Parameter names are those of common checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, fx, nn

from fastdfkd.models.initialisation import initialise

VGG11_GROUPS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG(nn.Module):
    """Groups of 3x3 convolutions (with bias), each followed by BatchNorm and ReLU."""

    def __init__(
        self, groups: Sequence[Sequence[int]], num_classes: int, in_channels: int = 3
    ) -> None:
        super().__init__()
        if len(groups) != 5:
            raise ValueError(f"groups: expected five groups of widths, got {len(groups)}")
        before = [in_channels, *(group[-1] for group in groups)]
        self.block0 = _group(before[0], groups[0])
        self.block1 = _group(before[1], groups[1])
        self.block2 = _group(before[2], groups[2])
        self.block3 = _group(before[3], groups[3])
        self.block4 = _group(before[4], groups[4])
        self.classifier = nn.Linear(before[5], num_classes)
        initialise(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised images (B, in_channels, H, W), sides 8 or more."""
        for block in (self.block0, self.block1, self.block2):
            x = F.max_pool2d(F.relu(block(x)), 2)
        x = F.relu(self.block3(x))
        x = F.relu(self.block4(_halved_if_large(x)))
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


@fx.wrap  # a single node of the traced network, because its result depends on a shape
def _halved_if_large(x: Tensor) -> Tensor:
    """Max-pooling if x has 8 or more columns: the image had 64 or more before three poolings."""
    return F.max_pool2d(x, 2) if x.shape[-1] >= 8 else x


def _group(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Convolution, BatchNorm and ReLU for each width, without the last ReLU."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers[:-1])
