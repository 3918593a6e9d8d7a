"""Peak memory of a role as a function of its batch: a line through two measured batches.

The line is checked at two other batches. The largest batch that fits in a card follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

GB = 1e9
CARDS_GB = (8, 24, 80)
RESERVED_GB = 1.0
"""Of a card, for the CUDA context and what the desktop or another process holds."""


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """bytes = fixed + per_image * images."""

    fixed_bytes: float
    per_image_bytes: float
    errors: tuple[float, ...]
    """Relative error at each batch that the line was not drawn through; positive: too high."""

    @classmethod
    def of(
        cls, measure: Callable[[int], float], through: tuple[int, int], checked: Sequence[int]
    ) -> MemoryModel:
        """Draw the line and check it.

        Args:
            measure: peak bytes for a number of images.
            through: the two batches of the line.
            checked: other batches.

        Raises:
            ValueError: memory does not grow with the batch.
        """
        small, large = (measure(images) for images in through)
        per_image = (large - small) / (through[1] - through[0])
        if per_image <= 0:
            raise ValueError(
                f"expected more memory for {through[1]} images than for {through[0]}, got "
                f"{large:,.0f} and {small:,.0f} bytes"
            )
        fixed = small - per_image * through[0]
        errors = [(fixed + per_image * n) / measure(n) - 1 for n in checked]
        return cls(fixed_bytes=fixed, per_image_bytes=per_image, errors=tuple(errors))

    def largest_batch(self, card_gb: float) -> int:
        """Images that fit in a card of so many GB (1e9 bytes); 0 if not even one does.

        The worst error of the check is taken off the card's memory.
        """
        usable = (card_gb - RESERVED_GB) * GB / (1 + max(map(abs, self.errors), default=0.0))
        return max(int((usable - self.fixed_bytes) / self.per_image_bytes), 0)
