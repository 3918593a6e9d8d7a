"""What every evaluation set is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fastdfkd.core.task_kind import Classification, TaskKind

Split = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What is known of a data set without opening it."""

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    mean: tuple[float, ...]
    """Per channel, of images in 0..1, over the training split."""
    std: tuple[float, ...]
    """Per channel, of images in 0..1, over the training split."""
    class_names: tuple[str, ...]

    @property
    def kind(self) -> TaskKind:
        """What a network of this data set answers."""
        return Classification(self.num_classes)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Real images with their classes."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 (hex) over shape, pixels and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()
