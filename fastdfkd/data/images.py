"""Real images, and where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.stated import Stated

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

    def check_fits(self, spec: ImageSpec) -> None:
        """Check shape and labels.

        Raises:
            ValueError: they are not those of `spec`.
        """
        shape = tuple(self.images.shape[1:])
        if shape != spec.shape:
            raise ValueError(
                f"{spec.name}: expected images of shape {list(spec.shape)} (channels, height, "
                f"width), as input.shape or the data set says, got {list(shape)}"
            )
        if (
            len(self)
            and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < spec.num_classes
        ):
            raise ValueError(
                f"{spec.name}: expected labels from 0 to {spec.num_classes - 1}, got "
                f"{int(self.labels.min())} to {int(self.labels.max())}"
            )

    def digest(self) -> str:
        """SHA-256 (hex) over shape, pixels and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSource:
    """The real images that the data section of a recipe describes."""

    stated: ImageSpec | Stated
    """What the source states about its images; `experiment.image_spec` completes it."""
    load: Callable[[Split], LabelledImages | None]
    """Returns the images of a split, or None if the source has no such split.

    Raises ValueError if files are missing or damaged.
    """
