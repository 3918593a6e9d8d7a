"""Real images, and where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec

Split = Literal["train", "test"]
"""`train` trains the sample teachers, `test` judges teachers and students."""


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


@dataclass(frozen=True)
class DataSource:
    """What a recipe's data section stands for."""

    spec: ImageSpec
    """Known without opening a file."""
    load: Callable[[Split], LabelledImages | None]
    """The images of a split; None where the source has no such split.

    Raises ValueError where they should be there and are not.
    """
