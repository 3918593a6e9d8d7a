"""Random crop and flip that move images and their maps of classes alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation, pixels_at


class AlignedCrop(NamedTuple):
    """One random window per image, of one size, flipped at random.

    Window pixel (y, x) is image pixel (y + dy, x' + dx), with x' = x, or W - 1 - x where the window
    is flipped. Outside the image, images are 0 and maps are void.
    """

    dy: Tensor
    """(B,) int64."""
    dx: Tensor
    """(B,) int64."""
    flip: Tensor
    """(B,) bool."""
    size: tuple[int, int]
    """Height and width of the windows."""

    @classmethod
    def draw(
        cls,
        count: int,
        sides: tuple[int, int],
        size: tuple[int, int],
        padding: int,
        flip: bool,
        generator: torch.Generator,
    ) -> AlignedCrop:
        """Draw windows for `count` images.

        For images of the windows' size, the draws are those of `Augmentation`.

        Args:
            count: B.
            sides: height and width of the images, no smaller than `size`.
            size: height and width of the windows.
            padding: most pixels by which a window is moved on from its place within the image.
            flip: flip each window with probability 1/2.
            generator: source of the draws, on the device of the images.
        """
        dy, dx, flips, _ = Augmentation.draw(count, padding, flip, False, generator)
        rooms = [side - window for side, window in zip(sides, size, strict=True)]
        if rooms[0]:
            dy = dy + _places(rooms[0], count, generator)
        if rooms[1]:
            dx = dx + _places(rooms[1], count, generator)
        return cls(dy, dx, flips, size)

    def images(self, images: Tensor) -> Tensor:
        """The windows (B, C, h, w) of images (B, C, H, W), without autograd."""
        moved, inside = self._window(images)
        return moved * inside

    def maps(self, labels: Tensor, void: int) -> Tensor:
        """The windows (B, h, w) of maps (B, H, W) int64."""
        moved, inside = self._window(labels[:, None])
        return torch.where(inside, moved, void)[:, 0]

    def _window(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels, and whether they are inside of the image, (B, 1, h, w) bool."""
        height, width = self.size
        x = torch.arange(width, device=images.device)
        x = torch.where(self.flip[:, None], width - 1 - x, x) + self.dx[:, None]
        y = torch.arange(height, device=images.device) + self.dy[:, None]
        return pixels_at(images, y, x)


def _places(room: int, count: int, generator: torch.Generator) -> Tensor:
    """Offsets (count,) from 0 to `room`."""
    return torch.randint(room + 1, (count,), generator=generator, device=generator.device)
