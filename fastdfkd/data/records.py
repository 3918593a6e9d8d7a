"""What a reader of image files offers: the stored images of a split, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

IntArray = npt.NDArray[np.int64]
ClassMap = npt.NDArray[np.uint8]
"""(H, W), the class of each pixel; 255 is void."""


class Records(Protocol):
    """The stored images of a split. They are sent to the processes that decode images."""

    def __len__(self) -> int:
        """Number of images."""

    def name(self, row: int) -> str:
        """What messages call an image."""

    def image(self, row: int) -> Image.Image:
        """An image as it is stored. Any exception means that it cannot be read."""

    def digest(self) -> str:
        """SHA-256 (hex), another one when files or labels change."""


class ClassRecords(Records, Protocol):
    """Images with one class each."""

    @property
    def labels(self) -> IntArray:
        """(N,) classes of the networks, 0 to K - 1."""


class MapRecords(Records, Protocol):
    """Images with a map of classes each."""

    def class_map(self, row: int) -> ClassMap:
        """The map of an image as it is stored, in classes of the networks.

        Raises:
            WrongLabels: it holds other values than the recipe states.
            Exception: any other one means that the map cannot be read.
        """


class WrongLabels(ValueError):
    """Label maps hold other values than the recipe states. It ends the pass over the images."""


@dataclass(frozen=True)
class Found:
    """The stored images of a split, as a reader found them."""

    records: ClassRecords | MapRecords
    where: str
    """What messages call them."""
    notes: tuple[str, ...] = ()
    """What a user should know, such as how classes were matched."""
    resize: tuple[int, int] | None = None
    """(height, width) of the images where `data.resize` is unset; None: see `Geometry`."""
