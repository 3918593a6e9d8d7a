"""A ring buffer of uint8 images. Each trainer copies the bank into one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.image_stores import DeviceImages, HostImages, ImageStore, Part


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
        """Allocate a buffer on a device.

        Args:
            capacity: images of the ring.
            image_shape: (C, H, W).
            device: where the images are.
            started: images that are there from the beginning, (N, C, H, W) uint8 in parts.
        """
        before = sum(len(part) for part in started)
        store = DeviceImages((before + capacity, *image_shape), device)
        self._begin(store, map(Part, started))

    @classmethod
    def of(cls, store: ImageStore, started: Iterable[Part] = ()) -> SampleBuffer:
        """A buffer whose images are in a store, which has slots for `started` and the ring.

        Args:
            store: where the images are.
            started: images that are there from the beginning, in parts.
        """
        buffer = cls.__new__(cls)
        buffer._begin(store, started)
        return buffer

    def _begin(self, store: ImageStore, started: Iterable[Part]) -> None:
        self.store, self.before = store, 0
        for part in started:
            store.write(self.before, part.images, lasting=part.lasting)
            self.before += len(part.images)
        self.capacity = store.shape[0] - self.before
        """Images of the ring."""
        self.inserted = 0
        """Number of images ever inserted into the ring."""
        self.of_a_round = 0
        """Images of the newest insertion."""

    @property
    def images(self) -> Tensor:
        """All slots of a store that is one tensor, (N, C, H, W) uint8."""
        assert isinstance(self.store, DeviceImages | HostImages)
        return self.store.images

    def __len__(self) -> int:
        """Number of images stored now."""
        return self.before + min(self.inserted, self.capacity)

    def insert(self, batch: SyntheticBatch) -> None:
        """Add a batch; once the buffer is full it overwrites the oldest images."""
        self.extend(batch.images)

    def extend(self, images: Tensor, *, lasting: bool = False) -> None:
        """Add images (B, C, H, W) uint8.

        Args:
            images: they are copied to the buffer's store.
            lasting: see `ImageStore.write`.

        Raises:
            ValueError: the type or shape differs from the buffer's, or B exceeds its capacity.
        """
        shape = self.store.shape[1:]
        if images.dtype is not torch.uint8 or images.shape[1:] != shape:
            raise ValueError(
                f"expected images (B, {', '.join(map(str, shape))}) uint8, "
                f"got {tuple(images.shape)} {images.dtype}"
            )
        if len(images) > self.capacity:
            raise ValueError(
                f"a batch of {len(images)} images exceeds the capacity {self.capacity}"
            )
        start = self.inserted % self.capacity
        head = min(len(images), self.capacity - start)
        self.store.write(self.before + start, images[:head], lasting=lasting)
        if head < len(images):
            self.store.write(self.before, images[head:], lasting=lasting)
        self.inserted += len(images)
        self.of_a_round = len(images)

    def first(self, count: int) -> Tensor:
        """A copy of the images in the first `count` slots, (count, C, H, W) uint8."""
        return self.store.read(lambda: torch.arange(count, device=self.store.device))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw images uniformly and with replacement: (count, C, H, W) uint8.

        Raises:
            ValueError: the buffer is empty.
        """
        self._not_empty()
        return self.store.read(
            lambda: torch.randint(
                len(self), (count,), generator=generator, device=self.store.device
            )
        )

    def in_order(self, round: int, start: int, count: int) -> Tensor:
        """`count` images of one round from position `start` on, see `SampleBank`.

        All rounds must have the same number of images, and the capacity must be a multiple of it.

        Raises:
            ValueError: the buffer is empty.
        """
        self._not_empty()
        size = self.of_a_round
        oldest = max(self.inserted - self.capacity, 0) // size
        first = max(round, oldest) * size

        def slots() -> Tensor:
            positions = torch.arange(start, start + count, device=self.store.device) % size
            return self.before + (first + positions) % self.capacity

        return self.store.read(slots)

    def _not_empty(self) -> None:
        if not len(self):
            raise ValueError("nothing to draw: no batch has been inserted yet")
