"""The recipe section of images of random shapes."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from fastdfkd.recipe.methods.section import SynthesisSection
from fastdfkd.recipe.numbers import Count, Positive


class ShapesSynthesis(SynthesisSection):
    """Images of random coloured shapes that cover each other; no step optimises them.

    For teachers without running statistics, and as a baseline that costs next to nothing.
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.shapes:Shapes"

    method: Literal["shapes"]
    """Selects this method."""
    warmup_rounds: Count = 0
    """First rounds, which only fill the bank."""
    shapes: Positive = 6
    """Most shapes of an image; each image has 1 to so many."""
    candidates: Positive = 1
    """Images drawn for each that is kept. Above 1 the teacher is asked about all of them, and each
    class in turn gets the image that the teacher is surest of."""

    @property
    def summary(self) -> str:
        """The method and its number of shapes."""
        return f"{self.method}, up to {self.shapes}"

    def without_student(self) -> Self:
        """This section: no image depends on a student."""
        return self
