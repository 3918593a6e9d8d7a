"""A ring buffer of uint8 images on one device. Each trainer copies the bank into one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastdfkd.core.batch import SyntheticBatch


class SampleBuffer:
    """Implements `SampleBank`: stores the newest `capacity` images.

    Image number n of the run is in slot n mod capacity of a ring. Two buffers that received the
    same images therefore hold the same images in the same order. Images with which the bank was
    started are stored before the ring and stay.
    """

    def __init__(
        self,
        capacity: int,
        image_shape: Sequence[int],
        device: torch.device | str = "cpu",
        started: Sequence[Tensor] = (),
    ):
        """Allocate the buffer.

        Args:
            capacity: images of the ring.
            image_shape: (C, H, W).
            device: where the images are.
            started: images that are there from the beginning, (N, C, H, W) uint8 in parts.
        """
        before = sum(len(part) for part in started)
        shape = (before + capacity, *image_shape)
        self.images = torch.empty(shape, dtype=torch.uint8, device=device)
        self.ring = self.images[before:]
        place = 0
        for part in started:
            self.images[place : place + len(part)].copy_(part)
            place += len(part)
        self.inserted = 0
        """Number of images ever inserted into the ring."""
        self.of_a_round = 0
        """Images of the newest insertion."""

    def __len__(self) -> int:
        """Number of images stored now."""
        return len(self.images) - len(self.ring) + min(self.inserted, len(self.ring))

    def insert(self, batch: SyntheticBatch) -> None:
        """Add a batch; once the buffer is full it overwrites the oldest images."""
        self.extend(batch.images)

    def extend(self, images: Tensor) -> None:
        """Add images (B, C, H, W) uint8, copied to the buffer's device.

        Raises:
            ValueError: the type or shape differs from the buffer's, or B exceeds its capacity.
        """
        if images.dtype is not torch.uint8 or images.shape[1:] != self.images.shape[1:]:
            raise ValueError(
                f"expected images (B, {', '.join(map(str, self.images.shape[1:]))}) uint8, "
                f"got {tuple(images.shape)} {images.dtype}"
            )
        capacity = len(self.ring)
        if len(images) > capacity:
            raise ValueError(f"a batch of {len(images)} images exceeds the capacity {capacity}")
        start = self.inserted % capacity
        head = min(len(images), capacity - start)
        self.ring[start : start + head].copy_(images[:head], non_blocking=True)
        self.ring[: len(images) - head].copy_(images[head:], non_blocking=True)
        self.inserted += len(images)
        self.of_a_round = len(images)

    def first(self, count: int) -> Tensor:
        """A copy of the images in the first `count` slots, (count, C, H, W) uint8."""
        return self.images[:count].clone()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw images uniformly and with replacement: (count, C, H, W) uint8.

        Raises:
            ValueError: the buffer is empty.
        """
        return self.at(self.indices(count, generator))

    def indices(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the positions of `draw`, (count,) int64.

        Raises:
            ValueError: the buffer is empty.
        """
        self._not_empty()
        return torch.randint(len(self), (count,), generator=generator, device=self.images.device)

    def at(self, indices: Tensor) -> Tensor:
        """The images at given positions, (count, C, H, W) uint8."""
        return self.images.index_select(0, indices)

    def in_order(self, round: int, start: int, count: int) -> Tensor:
        """`count` images of one round from position `start` on, see `SampleBank`.

        All rounds must have the same number of images, and the capacity must be a multiple of it.

        Raises:
            ValueError: the buffer is empty.
        """
        self._not_empty()
        size, capacity = self.of_a_round, len(self.ring)
        oldest = max(self.inserted - capacity, 0) // size
        positions = torch.arange(start, start + count, device=self.ring.device) % size
        index = (max(round, oldest) * size + positions) % capacity
        return self.ring.index_select(0, index)

    def _not_empty(self) -> None:
        if not len(self):
            raise ValueError("nothing to draw: no batch has been inserted yet")
