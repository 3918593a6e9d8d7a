"""Views of the bank's images: what an update of the student does to them before it uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation, Normalisation
from fastdfkd.core.resized_crop import ResizedCrop

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection

Draws = tuple[Tensor | None, ...]


class Views(Protocol):
    """Draws transformations and applies them. The draws are tensors, for captured steps."""

    draws: int
    """Tensors of `draw`."""

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """The random numbers of `count` images."""

    def of(self, images: Tensor, *draws: Tensor | None) -> Tensor:
        """Views (B, C, H, W) uint8 of images (B, C, H, W) uint8."""


class ShiftedViews:
    """Implements `Views`: a crop from the padded image, flips, inversions."""

    draws = len(Augmentation._fields)

    def __init__(self, section: DistillationSection):
        self.section = section

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Fields of `Augmentation`."""
        section = self.section
        return Augmentation.draw(
            count, section.crop_padding, section.flip, section.invert, generator
        )

    def of(self, images: Tensor, *draws: Tensor | None) -> Tensor:
        """The moved pixels."""
        return Augmentation(*draws).apply(images)  # type: ignore[arg-type]


class ResizedViews:
    """Implements `Views`: a part of each image, resized to the whole size; flips, inversions.

    Pixels are rounded to whole numbers, as those of stored images are.
    """

    draws = 2

    def __init__(self, section: DistillationSection):
        assert section.crop_area is not None
        self.smallest, self.flip, self.invert = section.crop_area, section.flip, section.invert

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """`ResizedCrop.theta`, and which images are inverted, (B,) bool, if any may be."""
        (theta,) = ResizedCrop.draw(count, self.smallest, self.flip, generator)
        if not self.invert:
            return theta, None
        return theta, torch.rand(count, generator=generator, device=generator.device) < 0.5

    def of(self, images: Tensor, *draws: Tensor | None) -> Tensor:
        """The resized parts."""
        theta, inverted = draws
        assert theta is not None
        parts = ResizedCrop(theta)(images.float()).round().clamp(0, 255).to(torch.uint8)
        if inverted is None:
            return parts
        return torch.where(inverted[:, None, None, None], 255 - parts, parts)


def preparing(views: Views, normalisation: Normalisation) -> Callable[..., tuple[Tensor, Tensor]]:
    """A function of images and what `Views.draw` drew for them.

    Views (B, C, H, W) uint8 from elsewhere may follow. It returns the new views, uint8, and all
    views, new ones first, normalised.
    """

    def prepare(images: Tensor, *draws_and_seen: Tensor | None) -> tuple[Tensor, Tensor]:
        draws = draws_and_seen[: views.draws]
        seen = [view for view in draws_and_seen[views.draws :] if view is not None]
        new = views.of(images, *draws)
        return new, normalisation.from_uint8(torch.cat([new, *seen]) if seen else new)

    return prepare


def views_of(section: DistillationSection) -> Views:
    """The views that a recipe asks for."""
    return ShiftedViews(section) if section.crop_area is None else ResizedViews(section)
