"""The rate limiter: which rounds and updates may start, as arithmetic on two counters.

    I = rounds inserted in the bank, U = student updates made, W = warm-up rounds,
    k = updates_per_round, N = synthesizers, t = tolerance

The paper's order is: insert round r (I = r + 1), then k updates if r >= W. So

    updates allowed:   U <= k * (I - W)       an update sees at least the images of that order
    round r may start: k * (r - W - t) <= U   synthesis is at most t rounds ahead of the student

`lockstep` is t = 0 with rounds in waves of N: a wave starts when the wave before it is in the bank
and its updates are made, and updates resume when the wave is complete. With N = 1 this is the
paper's order. `async` is t = N * tolerance_rounds without waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # keeps the import out of the bank's process
    from fastdfkd.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class RateLimiter:
    """The limits; the counters are in `BankIndex`."""

    rounds: int
    warmup_rounds: int
    updates_per_round: int
    tolerance: int
    """Rounds that synthesizers may be ahead of the student."""
    wave: int
    """Rounds that start and become visible together: N in lock-step, else 1."""
    publish_every: int
    """Student updates between two published versions."""

    @classmethod
    def of(cls, recipe: Recipe) -> RateLimiter:
        """The limiter of a recipe."""
        lockstep = recipe.platform.schedule == "lockstep"
        return cls(
            rounds=recipe.synthesis.rounds,
            warmup_rounds=recipe.synthesis.warmup_rounds,
            updates_per_round=recipe.distillation.updates_per_round,
            tolerance=recipe.most_rounds_ahead,
            wave=recipe.platform.synthesizers if lockstep else 1,
            publish_every=recipe.publish_every,
        )

    @property
    def lockstep(self) -> bool:
        """Whether synthesis and training take turns (no tolerance)."""
        return self.tolerance == 0

    def may_start(self, round: int, inserted: int, updates: int) -> bool:
        """Whether round `round` may start once `inserted` rounds and `updates` updates are made."""
        first = self.wave_start(round)
        if self.lockstep and inserted < first:
            return False
        return self.updates_per_round * (first - self.warmup_rounds - self.tolerance) <= updates

    def student_for(self, round: int) -> int:
        """Updates of the student version that a round needs, in lock-step; 0 in async runs.

        It is the last version published by the updates before the round's wave.
        """
        if not self.lockstep:
            return 0
        updates = self.updates_per_round * max(self.wave_start(round) - self.warmup_rounds, 0)
        return updates // self.publish_every * self.publish_every

    def is_for(self, round: int, synthesizer: int) -> bool:
        """Whether a synthesizer may make a round.

        In lock-step each round of a wave belongs to one synthesizer, so that the result does not
        depend on their speed: each has running estimates of its own.
        """
        return self.wave == 1 or round % self.wave == synthesizer

    def updates_allowed(self, inserted: int) -> int:
        """Total student updates allowed once `inserted` rounds are in the bank."""
        return self.updates_per_round * max(self.visible(inserted) - self.warmup_rounds, 0)

    def rounds_for(self, updates: int) -> int:
        """Rounds in the bank at update number `updates` (from 1) in the paper's order."""
        after_warmup = -(-updates // self.updates_per_round)
        waves = -(-(self.warmup_rounds + after_warmup) // self.wave)
        return min(waves * self.wave, self.rounds)

    def wave_crosses(self, round: int, every: int) -> bool:
        """Whether the number of rounds reaches a multiple of `every` within the wave of `round`."""
        first = self.wave_start(round)
        return (first + self.wave) // every > first // every

    def wave_start(self, round: int) -> int:
        """First round of the wave of `round`."""
        return round // self.wave * self.wave

    def visible(self, inserted: int) -> int:
        """Inserted rounds that trainers may draw from: complete waves, or all at the end."""
        return inserted if inserted == self.rounds else inserted // self.wave * self.wave
