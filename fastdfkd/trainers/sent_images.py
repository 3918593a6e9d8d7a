"""Images that the driver gives to the trainers before the first round (`bank.start_from`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.core.image_stores import Part
from fastdfkd.trainers.bank_loader import as_tensor
from fastdfkd.trainers.filed_images import FiledImages


@dataclass(frozen=True)
class SentImages:
    """Where a trainer finds the parts of these images, in their order."""

    images: int = 0
    """Number of images."""
    parts: tuple[Any, ...] = ()
    """`FiledImages`, or references to arrays (N, C, H, W) uint8."""

    def fetched(self) -> Iterator[Part]:
        """The parts; do not write to them.

        Parts in files of this machine are mapped. The others are fetched one after the other.

        Raises:
            ValueError: a file is missing or damaged.
        """
        for part in self.parts:
            if isinstance(part, FiledImages) and part.is_here:
                yield Part(part.mapped(), lasting=True)
            else:
                reference = part.request() if isinstance(part, FiledImages) else part
                yield Part(as_tensor(ray.get(reference)))


NONE_SENT = SentImages()
