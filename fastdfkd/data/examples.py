"""An image and its label, decoded, as the networks read them: the one place for each kind of task.

Examples are sent to the processes that decode images.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdfkd.data.decoding import Geometry, Pixels, Unreadable, pixels_of, upright
from fastdfkd.data.records import ClassRecords, MapRecords, Records
from fastdfkd.recipe import TaskName


@dataclass(frozen=True)
class Examples(ABC):
    """Images of one size with their labels."""

    records: Records
    channels: int
    geometry: Geometry

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of all images and labels, decoded."""

    @abstractmethod
    def read(self, row: int) -> tuple[Pixels, npt.NDArray[Any]]:
        """Pixels (C, H, W) of an image, and its label (*space) of any integer type.

        Raises:
            WrongLabels: label maps hold other values than the recipe states.
            Exception: any other one means that the example cannot be read.
        """

    def __len__(self) -> int:
        return len(self.records)

    def digest(self) -> str:
        """SHA-256 (hex) over the files' names, sizes and times, and how they are resized."""
        content = repr((self.records.digest(), self.channels, self.geometry))
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def _pixels(self) -> int:
        height, width = self.geometry.size
        return len(self) * height * width


@dataclass(frozen=True)
class ClassifiedImages(Examples):
    """One class for each image."""

    records: ClassRecords

    @property
    def nbytes(self) -> int:
        """Those of the pixels; labels are few."""
        return self._pixels * self.channels

    def read(self, row: int) -> tuple[Pixels, npt.NDArray[Any]]:
        """Pixels (C, H, W) and class ()."""
        pixels = pixels_of(self.records.image(row), self.channels, self.geometry)
        return pixels, self.records.labels[row]


@dataclass(frozen=True)
class MappedImages(Examples):
    """A map of classes for each image. Both are cut alike; maps are resized to nearest pixels."""

    records: MapRecords

    @property
    def nbytes(self) -> int:
        """One byte for each channel and one for the class of each pixel."""
        return self._pixels * (self.channels + 1)

    def read(self, row: int) -> tuple[Pixels, npt.NDArray[Any]]:
        """Pixels (C, H, W) and map (H, W) uint8; 255 is void.

        Raises:
            Unreadable: image and map have different sizes, or are far too small.
            WrongLabels: the map holds other values than the recipe states.
        """
        image, classes = upright(self.records.image(row)), self.records.class_map(row)
        if image.size != classes.shape[::-1]:
            raise Unreadable(
                f"it has {image.width} x {image.height} pixels (width x height), its label map "
                f"{classes.shape[1]} x {classes.shape[0]}"
            )
        nearest = replace(self.geometry, interpolation="nearest")
        fitted = np.asarray(nearest(Image.fromarray(classes)))
        return pixels_of(image, self.channels, self.geometry), fitted


EXAMPLES: dict[TaskName, Any] = {"classification": ClassifiedImages, "segmentation": MappedImages}
"""The class of examples by `input.task`; each takes records, channels and geometry."""
