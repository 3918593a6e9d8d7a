"""A bank's images in files on a local disk, read through the kernel's page cache."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastdfkd.core.image_stores import Choose, Staging


class DiskImages:
    """Implements `ImageStore`: a memory-mapped file, and other mapped files that it keeps as is.

    The file has no name, so its space is free as soon as the process has ended, whatever ended it.
    It is written with calls that report a full disk, and read through its mapping. Pages that were
    read stay in the kernel's page cache while there is memory. They count as resident memory of the
    process, but the kernel takes them back when it needs them.
    """

    def __init__(self, shape: Sequence[int], device: torch.device | str, folder: Path):
        """Create the file, which takes disk space only as it is written.

        Args:
            shape: (N, C, H, W).
            device: of the images that `read` returns.
            folder: on a local disk.

        Raises:
            OSError: the folder is missing or not writable.
        """
        self.shape, self.device = tuple(shape), torch.device(device)
        self.staging = Staging(device)
        self.file, name = tempfile.mkstemp(dir=folder)
        weakref.finalize(self, os.close, self.file)
        os.unlink(name)
        self.image_bytes = math.prod(self.shape[1:])
        os.ftruncate(self.file, max(self.shape[0] * self.image_bytes, 1))
        mapped = mmap.mmap(self.file, 0, access=mmap.ACCESS_READ)
        own = np.frombuffer(mapped, np.uint8, self.shape[0] * self.image_bytes)
        self.mappings: dict[int, np.ndarray] = {0: own.reshape(self.shape)}
        """Arrays (n, C, H, W) by number; 0 is the file."""
        self.mapping = np.zeros(self.shape[0], np.int64)
        """For each slot the number of the mapping with its image."""
        self.row = np.arange(self.shape[0])
        """For each slot the row in that mapping."""
        self.newest = 0

    def write(self, start: int, images: Tensor, *, lasting: bool = False) -> None:
        """Write images to the file, or keep those of another mapped file.

        Raises:
            OSError: the disk is full.
        """
        slots = slice(start, start + len(images))
        replaced = set(self.mapping[slots].tolist()) - {0}
        if lasting:
            self.newest += 1
            self.mappings[self.newest] = images.numpy()
            self.mapping[slots], self.row[slots] = self.newest, np.arange(len(images))
        else:
            self._write_file(start, images)
            self.mapping[slots], self.row[slots] = 0, np.arange(slots.start, slots.stop)
        for number in replaced:
            if not (self.mapping == number).any():
                del self.mappings[number]  # and the disk space of a file that was deleted

    def _write_file(self, start: int, images: Tensor) -> None:
        content = images.contiguous().cpu().numpy().data.cast("B")
        place = start * self.image_bytes
        while content:
            written = os.pwrite(self.file, content, place)
            content, place = content[written:], place + written

    def read(self, choose: Choose) -> Tensor:
        """Read the images and copy them to the device."""
        return self.staging.read(choose, self.shape[1:], self._gather)

    def _gather(self, index: Tensor, batch: Tensor) -> None:
        images = batch.numpy()
        for place, slot in enumerate(index.tolist()):
            images[place] = self.mappings[self.mapping[slot]][self.row[slot]]
