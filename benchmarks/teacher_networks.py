"""Small networks of eight families for 32x32 images, as teachers of `benchmarks/teachers.py`.

Each builder takes `num_classes` and `in_channels`. The residual network is the package's own
`resnet14`. All have three resolutions and end in a global average and a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.models.resnet import ResidualNetwork, group_norm

Activation = Callable[[], nn.Module]


def convolution(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias that keeps the sides, divided by `stride`."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def normed(
    inputs: int,
    outputs: int,
    size: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: Activation | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, BatchNorm and activation."""
    layers: list[nn.Module] = [
        convolution(inputs, outputs, size, stride, groups),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def classifier(channels: int, num_classes: int) -> list[nn.Module]:
    """Global average and linear layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]


def plain(num_classes: int, in_channels: int) -> nn.Module:
    """Convolutions in a chain; strides in place of pooling."""
    widths = [(in_channels, 24, 1), (24, 24, 1), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1)]
    layers = [normed(before, after, stride=stride) for before, after, stride in widths]
    return nn.Sequential(*layers, *classifier(96, num_classes))


def vgg(num_classes: int, in_channels: int) -> nn.Module:
    """Pairs of convolutions, each followed by max-pooling."""
    layers: list[nn.Module] = []
    before = in_channels
    for width in (32, 64, 128):
        layers += [normed(before, width), normed(width, width), nn.MaxPool2d(2)]
        before = width
    return nn.Sequential(*layers, *classifier(before, num_classes))


class PreActivationBlock(nn.Module):
    """Residual block whose norms and GELUs come before the convolutions (arXiv 1603.05027)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), convolution(inputs, outputs, 3, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(outputs), convolution(outputs, outputs)
        changes = inputs != outputs or stride != 1
        self.shortcut = convolution(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        ready = F.gelu(self.norm1(x))
        rest = x if self.shortcut is None else self.shortcut(ready)
        residual: Tensor = self.conv2(F.gelu(self.norm2(self.conv1(ready))))
        return rest + residual


STAGES = ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1))
"""Channels and stride of each block."""


def _blocks(before: int, block: Callable[[int, int, int], nn.Module]) -> Iterator[nn.Module]:
    for width, stride in STAGES:
        yield block(before, width, stride)
        before = width


def pre_activation(num_classes: int, in_channels: int) -> nn.Module:
    """Residual network with pre-activation and GELU."""
    blocks = _blocks(16, PreActivationBlock)
    last = [nn.BatchNorm2d(64), nn.GELU()]
    return nn.Sequential(convolution(in_channels, 16), *blocks, *last, *classifier(64, num_classes))


class InvertedResidual(nn.Module):
    """Wide depthwise convolution between two linear bottlenecks (MobileNetV2, arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 4):
        super().__init__()
        wide = inputs * expansion
        self.branch = nn.Sequential(
            normed(inputs, wide, 1, activation=nn.ReLU6),
            normed(wide, wide, 3, stride, wide, activation=nn.ReLU6),
            normed(wide, outputs, 1, activation=None),
        )
        self.adds = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        found: Tensor = self.branch(x)
        return x + found if self.adds else found


def inverted_residual(num_classes: int, in_channels: int) -> nn.Module:
    """Inverted residuals with ReLU6, as in MobileNetV2."""
    first = normed(in_channels, 16, activation=nn.ReLU6)
    last = normed(64, 160, 1, activation=nn.ReLU6)
    blocks = _blocks(16, InvertedResidual)
    return nn.Sequential(first, *blocks, last, *classifier(160, num_classes))


class DenseLayer(nn.Module):
    """Appends `growth` channels to its input (DenseNet-BC, arXiv 1608.06993)."""

    def __init__(self, inputs: int, growth: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            convolution(inputs, 4 * growth, 1),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            convolution(4 * growth, growth),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, inputs + growth, H, W)."""
        return torch.cat([x, self.branch(x)], 1)


def dense(num_classes: int, in_channels: int, growth: int = 16, depth: int = 3) -> nn.Module:
    """Three dense blocks with transitions that halve channels and sides.

    Transitions take maxima: with averages it learns nothing in the few epochs of a sample teacher.
    """
    channels = 2 * growth
    layers: list[nn.Module] = [convolution(in_channels, channels)]
    for stage in range(3):
        if stage:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), convolution(channels, channels // 2, 1)]
            layers.append(nn.MaxPool2d(2))
            channels //= 2
        for _ in range(depth):
            layers.append(DenseLayer(channels, growth))
            channels += growth
    last = [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, *last, *classifier(channels, num_classes))


class SqueezeExcite(nn.Module):
    """Residual block whose branch is weighed by channel (arXiv 1709.01507)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            normed(inputs, outputs, 3, stride), normed(outputs, outputs, activation=None)
        )
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(outputs, outputs // 4, 1),
            nn.ReLU(),
            nn.Conv2d(outputs // 4, outputs, 1),
            nn.Sigmoid(),
        )
        changes = inputs != outputs or stride != 1
        self.shortcut = normed(inputs, outputs, 1, stride, activation=None) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        found = self.branch(x)
        rest = x if self.shortcut is None else self.shortcut(x)
        return F.relu(rest + found * self.weigh(found))


def squeeze_excite(num_classes: int, in_channels: int) -> nn.Module:
    """Residual network with squeeze-and-excitation."""
    blocks = _blocks(16, SqueezeExcite)
    return nn.Sequential(normed(in_channels, 16), *blocks, *classifier(64, num_classes))


class Alternating:
    """Makes norms: BatchNorm and GroupNorm in turn."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, channels: int) -> nn.Module:
        """The next norm of `channels` channels."""
        self.made += 1
        return nn.BatchNorm2d(channels) if self.made % 2 else group_norm(channels)


def mixed_norms(num_classes: int, in_channels: int) -> nn.Module:
    """A residual network in which every other norm is a GroupNorm, without statistics."""
    return ResidualNetwork((2, 2, 2), (16, 32, 64), num_classes, in_channels, Alternating())
