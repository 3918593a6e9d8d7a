"""The generator whose weights are the meta-learned initialisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastdfkd.core.random_streams import seeded


class Generator(nn.Module):
    """The paper's CIFAR generator: linear, then two upsampling stages and a last convolution.

    z (B, latent_dim) -> images (B, C, H, W) in [0, 1]; H and W must be multiples of 4. BatchNorm
    always uses the batch's own statistics, so it keeps no running ones.
    """

    def __init__(self, latent_dim: int, width: int, image_shape: Sequence[int]):
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
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            _batch_norm(2 * width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
            _batch_norm(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
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


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)
