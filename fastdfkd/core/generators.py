"""The generator whose weights are the meta-learned initialisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.random_streams import seeded


class Generator(nn.Module):
    """The paper's CIFAR generator: linear, then two upsampling stages and a last convolution.

    z (B, latent_dim) -> images (B, C, H, W) in [0, 1]; H and W must be multiples of 4. BatchNorm
    always uses the batch's own statistics, so it keeps no running ones. `output_norm` puts one more
    before the sigmoid (not in the paper).
    """

    def __init__(
        self, latent_dim: int, width: int, image_shape: Sequence[int], output_norm: bool = False
    ):
        super().__init__()
        channels, height, side = image_shape
        if height % 4 or side % 4:
            raise ValueError(
                f"the generator doubles its resolution twice: image height and width must be "
                f"multiples of 4, got {height}x{side}"
            )
        self.start = (2 * width, height // 4, side // 4)
        self.project = nn.Linear(latent_dim, 2 * width * (height // 4) * (side // 4))
        self.norm = _batch_norm(2 * width)
        self.blocks = nn.Sequential(
            UpsampledConv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            _batch_norm(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            UpsampledConv2d(2 * width, width, 3, padding=1, bias=False),
            _batch_norm(width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
            *([_batch_norm(channels)] if output_norm else []),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Images of the latent codes."""
        x = self.project(z).reshape(-1, *self.start)
        x = self.norm(x.contiguous(memory_format=torch.channels_last))
        images: Tensor = self.blocks(x)
        return images

    def reset_first_layers(self, seed: int) -> None:
        """Linear layer and first BatchNorm anew: weights N(0, 0.02), biases 0."""
        with torch.no_grad(), seeded(seed, "first-layer-reset"):
            for layer in (self.project, self.norm):
                layer.weight.copy_(torch.empty(layer.weight.shape).normal_(0.0, 0.02))
                layer.bias.zero_()


class UpsampledConv2d(nn.Conv2d):
    """Doubles height and width (nearest), then convolves 3x3, padding 1, no bias.

    Each output pixel sees only 2x2 different inputs, so the same map is a transposed convolution
    of stride 2 with a 4x4 kernel, sums of the weights: 4/9 of the multiplications, and the large
    doubled input is never made. RunRecord in benchmarks/LOG.md.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, 2H, 2W)."""
        turned = self.weight.flip(2, 3).transpose(0, 1)
        kernel = sum(F.pad(turned, (a, 1 - a, b, 1 - b)) for a in (0, 1) for b in (0, 1))
        assert isinstance(kernel, Tensor)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)
