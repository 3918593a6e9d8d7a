"""What a reader of image files offers: the stored images of a split, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

IntArray = npt.NDArray[np.int64]


class Records(Protocol):
    """The stored images of a split. It is sent to the processes that decode images."""

    @property
    def labels(self) -> IntArray:
        """(N,) classes of the networks, 0 to K - 1."""

    def name(self, row: int) -> str:
        """What messages call an image."""

    def image(self, row: int) -> Image.Image:
        """An image as it is stored. Any exception means that it cannot be read."""

    def digest(self) -> str:
        """SHA-256 (hex), another one when files or labels change."""


@dataclass(frozen=True)
class Found:
    """The stored images of a split, as a reader found them."""

    records: Records
    where: str
    """What messages call them."""
    notes: tuple[str, ...] = ()
    """What a user should know, such as how classes were matched."""
