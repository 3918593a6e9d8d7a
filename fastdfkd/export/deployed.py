"""A network as it is deployed: pixels in, logits out, with the normalisation built in or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output, logits_in
from fastdfkd.core.image_spec import ImageSpec

Pixels = Literal["uint8", "unit", "normalised"]
"""What an exported program reads, (B, C, H, W):

uint8       bytes from 0 to 255
unit        float32 from 0 to 1
normalised  float32, (x - mean) / std of pixels x from 0 to 1
"""
PIXELS: tuple[Pixels, ...] = get_args(Pixels)


class DeployedNetwork(nn.Module):
    """Maps pixels to logits (B, K, *space) float32. It is always in eval mode."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        spec: ImageSpec,
        pixels: Pixels,
        output: Output = "logits",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Wrap a network.

        Args:
            network: put in eval mode.
            spec: the images as it reads them.
            pixels: what it is given.
            output: what the network returns.
            dtype: type of its weights and activations.
        """
        super().__init__()
        self.network = network
        self.pixels, self.dtype = pixels, dtype
        self.output, self.spatial_axes = output, spec.kind.spatial_axes
        normalisation = spec.normalisation("cpu")
        self.register_buffer("mean", normalisation.mean)
        self.register_buffer("std", normalisation.std)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, *space) of images (B, C, H, W)."""
        if self.pixels == "uint8":
            images = images.float() / 255
        if self.pixels != "normalised":
            images = (images - self.mean) / self.std
        answer = self.network(images.to(self.dtype))
        return logits_in(answer, self.output, self.spatial_axes).float()


def feed_of(spec: ImageSpec, pixels: Pixels) -> Callable[[Tensor], Tensor]:
    """Maps images (B, C, H, W) uint8 to what a program with this input is given."""
    normalisation = spec.normalisation("cpu")

    def feed(images: Tensor) -> Tensor:
        if pixels == "uint8":
            return images
        unit = images.float() / 255
        return unit if pixels == "unit" else normalisation(unit)

    return feed


def example_of(spec: ImageSpec, pixels: Pixels, count: int = 2) -> Tensor:
    """Random images (count, C, H, W) of the kind that a program with this input is given."""
    randomness = torch.Generator().manual_seed(0)
    shape = (count, *spec.shape)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=randomness)
    return feed_of(spec, pixels)(images)


def dynamic_axes(spec: ImageSpec) -> dict[int, str]:
    """Axes of the input that may have any size: the batch; height and width if labels have them."""
    spatial = ("height", "width")[: spec.kind.spatial_axes]
    return {0: "batch", **{2 + number: name for number, name in enumerate(spatial)}}
