"""Channel feature exchange: images that are decoded from the feature maps of two images.

Half of the channels of an image's map, drawn at random, is replaced by that of another image of the
batch, and the generator decodes the result. The map is the output of the first BatchNorm, of the
first or of the second upsampling convolution; one of them is drawn for a batch.

Source: SpaceshipNet (CVPR 2023), whose authors' code has these three maps and halves, and the
reversed batch as the other images. There the bank keeps the maps, and they are exchanged and
decoded again in every student update; here the bank keeps the images of one exchange.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.generators import Generator


@dataclass(frozen=True)
class ChannelExchange:
    """The draws of a batch of B images."""

    level: int
    """Which of `Generator.levels`."""
    shift: int
    """Image i takes channels of image (i + shift) mod B; 1 to B - 1."""
    taken: Tensor
    """(B, channels) bool, the channels that come from the other image: half of them."""
    images: Tensor
    """(B,) bool, the images that are replaced."""

    @classmethod
    def draw(
        cls, count: int, widths: Sequence[int], share: float, randomness: torch.Generator
    ) -> ChannelExchange:
        """Draw level, shift, channels and images.

        Args:
            count: B, at least 2.
            widths: channels of each level.
            share: probability that an image is replaced.
            randomness: draws, on the device of the images.
        """
        device = randomness.device

        def below(end: int) -> int:
            return int(torch.randint(end, (), generator=randomness, device=device))

        level, shift = below(len(widths)), 1 + below(count - 1)
        scores = torch.rand(count, widths[level], generator=randomness, device=device)
        taken = scores.argsort(1) < widths[level] // 2
        images = torch.rand(count, generator=randomness, device=device) < share
        return cls(level, shift, taken, images)

    @contextmanager
    def inside(self, generator: Generator) -> Iterator[None]:
        """Inside the block the generator decodes maps with exchanged channels."""

        def exchanged(_layer: nn.Module, _inputs: Any, maps: Tensor) -> Tensor:
            other = maps.roll(-self.shift, 0)
            return torch.where(self.taken[:, :, None, None], other, maps)

        handle = generator.levels[self.level].register_forward_hook(exchanged)
        try:
            yield
        finally:
            handle.remove()

    def chosen(self, decoded: Tensor, images: Tensor) -> Tensor:
        """`decoded` where an image is replaced, `images` elsewhere; (B, C, H, W)."""
        return torch.where(self.images[:, None, None, None], decoded, images)
