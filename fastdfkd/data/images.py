"""Real images, and where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec

Split = Literal["train", "test"]
"""`train`: a teacher is trained on it. `test`: teacher and student are judged on it."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Real images and their classes."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, count: int) -> LabelledImages:
        """Some of the images: `count` drawn at random, always the same ones; all if fewer."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        rows = order[:count].sort().values
        return LabelledImages(self.images[rows], self.labels[rows])

    def digest(self) -> str:
        """SHA-256 (hex) over shape, pixels and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSource:
    """The real images that the data section of a recipe describes."""

    spec: ImageSpec
    """Description of the images; known before any file is opened."""
    load: Callable[[Split], LabelledImages | None]
    """Returns the images of a split, or None if the source has no such split.

    Raises ValueError if files are missing or damaged.
    """
