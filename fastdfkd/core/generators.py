"""The generator network. Its meta-learned weights initialise the synthesis of each batch.

Source: the CIFAR generator of the authors' code of arXiv 2112.06253.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.random_streams import seeded


class Generator(nn.Module):
    """The paper's CIFAR generator: linear, then two upsampling stages and a last convolution.

    Maps z (B, latent_dim) to images (B, C, H, W) in [0, 1]. The first map has a quarter of the
    height and width, rounded up; where H or W is no multiple of 4, the last convolution's map is
    cropped, as evenly as possible on both sides.
    BatchNorm always uses the statistics of the batch and keeps no running ones. `output_norm` adds
    a BatchNorm before the sigmoid (not in the paper).
    """

    def __init__(
        self, latent_dim: int, width: int, image_shape: Sequence[int], output_norm: bool = False
    ):
        super().__init__()
        channels, height, side = image_shape
        self.start = (2 * width, -(-height // 4), -(-side // 4))
        self.widths = (2 * width, 2 * width, width)
        """Channels of the output of each of `levels`."""
        self.project = nn.Linear(latent_dim, math.prod(self.start))
        self.norm = batch_norm(2 * width)
        self.blocks = nn.Sequential(
            UpsampledConv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            batch_norm(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            UpsampledConv2d(2 * width, width, 3, padding=1, bias=False),
            batch_norm(width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
            *centre_crop(height, side, 4),
            *([batch_norm(channels)] if output_norm else []),
            nn.Sigmoid(),
        )

    def noise_shape(self, count: int) -> tuple[int, ...]:
        """Shape of the noise of `count` images: (count, latent_dim)."""
        return (count, self.project.in_features)

    def inputs(self, noise: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The arguments of `forward` for a batch: those that it trains, and the others.

        Args:
            noise: of the shape `noise_shape`.
            labels: target classes of the images, (B, *space) int64.
        """
        return [noise], []

    def latent(self, *inputs: Tensor) -> Tensor:
        """Latent codes (B, latent_dim) of the arguments of `forward`."""
        (z,) = inputs
        return z

    @property
    def levels(self) -> list[nn.Module]:
        """The first BatchNorm and the two convolutions after it, whose outputs are features."""
        return [self.norm, self.blocks[0], self.blocks[3]]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Images (B, C, H, W) of latent codes (B, latent_dim), or what a subclass reads."""
        x = self.project(self.latent(*inputs)).reshape(-1, *self.start)
        x = self.norm(x.contiguous(memory_format=torch.channels_last))
        images: Tensor = self.blocks(x)
        return images

    def reset_first_layers(self, seed: int) -> None:
        """Draw the linear layer and the first BatchNorm again: weights N(0, 0.02), biases 0."""
        with torch.no_grad(), seeded(seed, "first-layer-reset"):
            for layer in (self.project, self.norm):
                layer.weight.copy_(torch.empty(layer.weight.shape).normal_(0.0, 0.02))
                layer.bias.zero_()


class CentreCrop(nn.Module):
    """Crops maps to a height and width, as evenly as possible on both sides."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """The centre (B, C, height, width) of maps (B, C, H, W)."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        return x[..., top : top + self.height, left : left + self.width]


class UpsampledConv2d(nn.Conv2d):
    """Nearest upsampling by 2, then a 3x3 convolution with padding 1 and no bias.

    Each output pixel depends on only 2x2 different inputs. The same map is therefore a transposed
    convolution of stride 2 whose 4x4 kernel holds sums of the weights. That takes 4/9 of the
    multiplications and never stores the upsampled input. benchmarks/LOG.md has the measurements.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, H, W) to (B, out, 2H, 2W)."""
        turned = self.weight.flip(2, 3).transpose(0, 1)
        kernel = sum(F.pad(turned, (a, 1 - a, b, 1 - b)) for a in (0, 1) for b in (0, 1))
        assert isinstance(kernel, Tensor)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def centre_crop(height: int, width: int, scale: int) -> list[nn.Module]:
    """A layer that crops maps to (height, width); none if both are multiples of `scale`."""
    return [CentreCrop(height, width)] if height % scale or width % scale else []


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """A BatchNorm that always uses the statistics of the batch."""
    return nn.BatchNorm2d(channels, track_running_stats=False)
