"""Where a sample buffer keeps its images: on its device, or in the memory of the host.

Draws are computed on the device in both cases, from the same random numbers. So the place has no
influence on the images that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Choose = Callable[[], Tensor]
"""Computes the slots of a draw, (B,) int64 on the device."""
STAGED = 2
"""Batches that may be on their way from the host to a GPU."""


class Part(NamedTuple):
    """Some of many images."""

    images: Tensor
    """(N, C, H, W) uint8."""
    lasting: bool = False
    """Whether the tensor never changes and costs no memory, as a mapped file."""


class ImageStore(Protocol):
    """N slots for uint8 images of one shape."""

    shape: tuple[int, ...]
    """(N, C, H, W)."""
    device: torch.device
    """Device of the images that `read` returns."""

    def write(self, start: int, images: Tensor, *, lasting: bool = False) -> None:
        """Fill slots.

        Args:
            start: number of the first slot.
            images: (B, C, H, W) uint8.
            lasting: see `Part`. A store may keep such a tensor instead of a copy.
        """

    def read(self, choose: Choose) -> Tensor:
        """A copy of the images in the slots that `choose` computes, (B, C, H, W) uint8."""


class DeviceImages:
    """Implements `ImageStore`: one tensor on the device."""

    def __init__(self, shape: Sequence[int], device: torch.device | str):
        self.shape, self.device = tuple(shape), torch.device(device)
        self.images = torch.empty(self.shape, dtype=torch.uint8, device=device)

    def write(self, start: int, images: Tensor, *, lasting: bool = False) -> None:
        """Copy images into slots."""
        self.images[start : start + len(images)].copy_(images, non_blocking=True)

    def read(self, choose: Choose) -> Tensor:
        """Gather the images on the device."""
        return self.images.index_select(0, choose())


class Staging:
    """Brings batches that are gathered on the host to the device.

    On a GPU the slots are drawn, and the batch is copied, in a stream of their own from page-locked
    memory. The update before is still running then: Python queues the work of the next update while
    the GPU is busy. So a batch is copied ahead of the update that needs it.
    """

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)
        self.stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.locked: list[Tensor] = []
        self.copied: list[torch.cuda.Event] = []
        self.batches = 0

    def read(
        self, choose: Choose, shape: Sequence[int], gather: Callable[[Tensor, Tensor], object]
    ) -> Tensor:
        """A batch of images on the device, (B, C, H, W) uint8.

        Args:
            choose: computes the slots (B,) on the device.
            shape: (C, H, W).
            gather: called with the slots on the CPU and the batch (B, C, H, W) to fill, on the CPU.
        """
        if self.stream is None:
            index = choose()
            images = torch.empty((len(index), *shape), dtype=torch.uint8)
            gather(index, images)
            return images
        with torch.cuda.stream(self.stream):
            index = choose().cpu()  # waits for this stream alone
            place = self._place((len(index), *shape))
            gather(index, self.locked[place])
            images = self.locked[place].to(self.device, non_blocking=True)
            self.copied[place].record(self.stream)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        images.record_stream(current)
        return images

    def _place(self, shape: tuple[int, ...]) -> int:
        """Number of page-locked memory for a batch, once its last batch has been copied."""
        if self.locked and self.locked[0].shape != shape:
            self.locked, self.copied = [], []  # in use by a copy: torch frees it afterwards
        if len(self.locked) < STAGED:
            self.locked.append(torch.empty(shape, dtype=torch.uint8, pin_memory=True))
            self.copied.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            return len(self.locked) - 1
        self.batches += 1
        place = self.batches % STAGED
        self.copied[place].synchronize()
        return place


class HostImages:
    """Implements `ImageStore`: one tensor in the host's memory, page-locked for a GPU."""

    def __init__(self, shape: Sequence[int], device: torch.device | str):
        self.shape, self.device = tuple(shape), torch.device(device)
        self.staging = Staging(device)
        locked = self.device.type == "cuda"
        self.images = torch.empty(self.shape, dtype=torch.uint8, pin_memory=locked)

    def write(self, start: int, images: Tensor, *, lasting: bool = False) -> None:
        """Copy images into slots."""
        self.images[start : start + len(images)].copy_(images)

    def read(self, choose: Choose) -> Tensor:
        """Gather the images on the host and copy them to the device."""
        return self.staging.read(choose, self.shape[1:], self._gather)

    def _gather(self, index: Tensor, batch: Tensor) -> None:
        torch.index_select(self.images, 0, index, out=batch)
