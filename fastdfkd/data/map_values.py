"""What the values of stored label maps mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fastdfkd.core.task_kind import Segmentation
from fastdfkd.data.decoding import upright
from fastdfkd.data.records import ClassMap, WrongLabels

VOID = Segmentation.void
"""Void in maps inside the program."""

_INTEGER_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")
_MOST = 2**16


@dataclass(frozen=True)
class MapValues:
    """Classes are the values from `first` on, in order. `void` counts nowhere."""

    num_classes: int
    void: int = VOID
    first: int = 0

    def classes_of(self, image: Image.Image, name: str) -> ClassMap:
        """The map (H, W) of an image file, in classes of the networks, with void at 255.

        An image with a palette gives its indices, whatever the colours are.

        Args:
            image: has one channel of whole numbers.
            name: what messages call the file.

        Raises:
            WrongLabels: it has colours or fractions, or a value is neither a class nor void.
            OSError: the file is damaged.
        """
        if image.mode not in _INTEGER_MODES:
            raise WrongLabels(
                f"label map {name}: expected one channel whose values are numbers of classes (a "
                f"grey image or one with a palette), got the mode {image.mode}. Write the number "
                "of the class of each pixel instead of its colour"
            )
        return self.translated(np.asarray(upright(image)).astype(np.int64), name)

    def translated(
        self, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]], name: str
    ) -> ClassMap:
        """Values (H, W) as classes; see `classes_of`."""
        table = self._table()
        inside = (values >= 0) & (values < _MOST)
        classes = table[np.where(inside, values, _MOST)]
        strange = classes < 0
        if strange.any():
            row, column = (int(place[0]) for place in np.nonzero(strange))
            last = self.first + self.num_classes - 1
            raise WrongLabels(
                f"label map {name}: expected values from {self.first} to {last}, because there are "
                f"{self.num_classes} classes, and {self.void} for void, got "
                f"{int(values[row, column])} (first in row {row}, column {column}). Set "
                "input.classes, data.void and data.first_label to what the files hold"
            )
        return classes.astype(np.uint8)

    def _table(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        """Class, or 255, by value; -1 for values that mean nothing."""
        table = np.full(_MOST + 1, -1, np.int16)
        table[self.first : self.first + self.num_classes] = np.arange(self.num_classes)
        table[self.void] = VOID
        return table
