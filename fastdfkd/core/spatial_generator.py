"""The generator of large images: its latent codes are maps, its weights do not grow with them.

Source: the ImageNet generator of the authors' code of arXiv 2112.06253, where z is (256, 14, 14).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastdfkd.core.generators import CentreCrop, Generator, UpsampledConv2d, batch_norm, centre_crop

SCALE = 16
"""Pixels of an image along one pixel of its latent code."""


class SpatialGenerator(Generator):
    """The paper's ImageNet generator: a convolution, then four upsampling stages and a last one.

    Maps z (B, latent_dim, ceil(H / 16), ceil(W / 16)) to images (B, C, H, W) in [0, 1]. With width
    w the stages have 2w (at the size of z), 2w, w, w and w channels. Where H or W is no multiple of
    16, the last map is cropped. BatchNorm uses the statistics of the batch and keeps no running
    ones.
    """

    def __init__(
        self, latent_dim: int, width: int, image_shape: Sequence[int], output_norm: bool = False
    ):
        nn.Module.__init__(self)
        channels, height, side = image_shape
        self.start = (latent_dim, -(-height // SCALE), -(-side // SCALE))
        stages: list[nn.Module] = [
            nn.Conv2d(latent_dim, 2 * width, 3, padding=1, bias=False),
            batch_norm(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        before = 2 * width
        for after in (2 * width, width, width, width):
            stages += [
                UpsampledConv2d(before, after, 3, padding=1, bias=False),
                batch_norm(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            before = after
        self.blocks = nn.Sequential(
            *stages,
            nn.Conv2d(width, channels, 3, padding=1),
            *centre_crop(height, side, SCALE),
            *([batch_norm(channels)] if output_norm else []),
            nn.Sigmoid(),
        )

    def noise_shape(self, count: int, side: int | None = None) -> tuple[int, ...]:
        """(count, latent_dim, ceil(H / 16), ceil(W / 16)), or those of square images of `side`."""
        if side is None:
            return (count, *self.start)
        return (count, self.start[0], side // SCALE, side // SCALE)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Images (B, C, H, W) of latent codes."""
        z = self.latent(*inputs).contiguous(memory_format=torch.channels_last)
        if z.shape[2:] == self.start[1:]:
            images: Tensor = self.blocks(z)
            return images
        for block in self.blocks:  # images of another size are not cropped
            z = z if isinstance(block, CentreCrop) else block(z)
        return z

    @property
    def levels(self) -> list[nn.Module]:
        """None: a recipe with this generator exchanges no channels."""
        return []

    def reset_first_layers(self, seed: int) -> None:
        """Never called: a recipe with this generator has no `reset_after`."""
        raise AssertionError("the spatial generator has no first linear layer to reset")
