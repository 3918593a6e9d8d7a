"""The images that a student update sees, before augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.mixup import mixed_images
from fastdfkd.core.shape_images import MOST_SHAPES, draw_shapes

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection


@dataclass(frozen=True, kw_only=True)
class UpdateImages:
    """One worker's images: of the bank, some replaced or mixed as the section says."""

    section: DistillationSection
    first_round: int | None
    """If set, an update takes the next images of its round, and this is the round of the first
    update; else it draws from the whole bank."""
    offset: int
    """Of the worker's images in a batch of all workers."""

    def draw(
        self, bank: SampleBank, update: int, count: int, randomness: torch.Generator
    ) -> Tensor:
        """`count` images for an update, (count, C, H, W) uint8.

        Args:
            bank: where they come from.
            update: number of updates made before.
            count: at most the worker's share of a batch.
            randomness: the update's random numbers.
        """
        section = self.section
        others = int(section.random_shapes * count)  # fewer than count
        images = self.from_bank(bank, update, count - others, randomness)
        if others:
            drawn = draw_shapes(others, images.shape[1:], MOST_SHAPES, randomness)
            images = torch.cat([images, drawn.mul(255).round().to(torch.uint8)])
        return mixed_images(images, section.mixup, randomness) if section.mixup else images

    def from_bank(
        self, bank: SampleBank, update: int, count: int, randomness: torch.Generator
    ) -> Tensor:
        """`count` images of the bank, (count, C, H, W) uint8; arguments as of `draw`."""
        if self.first_round is None:
            return bank.draw(count, randomness)
        round, nth = divmod(update, self.section.updates_per_round)
        start = nth * self.section.batch_size + self.offset
        return bank.in_order(self.first_round + round, start, count)
