"""The policies of the sample bank, in the terms of replay buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdfkd.recipe.whole import Recipe


@dataclass(frozen=True, kw_only=True)
class BankPolicies:
    """Policies of a run's bank, enforced by `platform/rate_limiter.py`."""

    capacity: int
    """Most images held at a time."""
    samples_per_insert: float
    """Images that the student draws for each image inserted past warm-up. With a `teacher_cache`:
    once the cache is full."""
    tolerance: int
    """Images that synthesis may be ahead of that ratio; 0 in lock-step. The student is never ahead
    of it."""
    minimum_size: int
    """Images inserted before the first draw."""
    start_from: str | None = None
    """Where the images come from that the bank has from the beginning."""
    removal: str = "oldest round"
    in_order: bool = False
    """Whether the updates of a round share its images, instead of drawing from all."""
    location: str = "device"
    """Where the trainers keep the images, as the recipe says."""

    @classmethod
    def of(cls, recipe: Recipe) -> BankPolicies:
        """The policies of a recipe."""
        synthesis, distillation = recipe.synthesis, recipe.distillation
        lockstep = recipe.platform.schedule == "lockstep"
        wave = recipe.platform.synthesizers if lockstep else 1
        first = -(-(synthesis.warmup_rounds + 1) // wave) * wave
        workers = max(recipe.platform.workers, 1)
        share = distillation.batch_size // workers
        fresh = max(share // (distillation.teacher_cache or 1), 1) * workers
        drawn = distillation.updates_per_round * fresh
        return cls(
            capacity=recipe.capacity,
            samples_per_insert=drawn / synthesis.batch_size,
            tolerance=recipe.most_rounds_ahead * synthesis.batch_size,
            minimum_size=min(first, synthesis.rounds) * synthesis.batch_size,
            start_from=recipe.bank.start_from,
            in_order=recipe.bank.draws == "in_order",
            location=recipe.bank.location,
        )

    def __str__(self) -> str:
        return (
            f"{self.capacity:,} images, {self.removal} out; {self.samples_per_insert:,.4g} draws "
            f"an insert{', in order' if self.in_order else ''}, synthesis at most "
            f"{self.tolerance:,} images ahead, first draw at {self.minimum_size:,}"
            f"{f', besides those of {self.start_from}' if self.start_from else ''}"
            f"{f'; location {self.location}' if self.location != 'device' else ''}"
        )
