"""Who may go on: pure arithmetic on two counters, so that any history can be tested.

    I = rounds inserted in the bank, U = student updates made, W = warm-up rounds,
    k = updates_per_round, N = synthesizers, t = tolerance

The paper's order is: insert round r (I = r + 1), then k updates if r >= W. So

    updates allowed:  U <= k * (I - W)            an update never sees fewer images than there
    round r may start: k * (r - W - t) <= U       no more than t rounds ahead of the student

`lockstep` is t = 0 with rounds taken in waves of N: a wave starts when the one before it is in the
bank and its updates are made, and the trainer goes on when a wave is whole. With N = 1 that is the
paper's order. `async` is t = N * tolerance_rounds without waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the bank's process has no use for it
    from fastdfkd.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class RateLimiter:
    """The policy alone; the counters belong to the bank."""

    rounds: int
    warmup_rounds: int
    updates_per_round: int
    tolerance: int
    """Rounds that synthesizers may be ahead of the student."""
    wave: int
    """Rounds that start and count together; 1 where they need not."""
    publish_every: int
    """Student updates between two versions that synthesizers see."""

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
        """Whether nobody may be ahead."""
        return self.tolerance == 0

    def may_start(self, round: int, inserted: int, updates: int) -> bool:
        """Whether round number `round` may start after `inserted` rounds and `updates` updates."""
        first = self.wave_start(round)
        if self.lockstep and inserted < first:
            return False
        return self.updates_per_round * (first - self.warmup_rounds - self.tolerance) <= updates

    def student_for(self, round: int) -> int:
        """Fewest updates that the student has had from which a round starts."""
        if not self.lockstep:
            return 0
        made = self.updates_per_round * max(self.wave_start(round) - self.warmup_rounds, 0)
        return made // self.publish_every * self.publish_every

    def is_for(self, round: int, synthesizer: int) -> bool:
        """Whether a synthesizer may make a round.

        In a wave each has its own, so that who makes what (and with which running estimates) does
        not depend on who is faster.
        """
        return self.wave == 1 or round % self.wave == synthesizer

    def updates_allowed(self, inserted: int) -> int:
        """Student updates that may have been made once `inserted` rounds are in the bank."""
        return self.updates_per_round * max(self.visible(inserted) - self.warmup_rounds, 0)

    def rounds_for(self, updates: int) -> int:
        """Rounds in the bank when update number `updates` (from 1) is made in the paper's order."""
        past_warmup = -(-updates // self.updates_per_round)
        waves = -(-(self.warmup_rounds + past_warmup) // self.wave)
        return min(waves * self.wave, self.rounds)

    def wave_crosses(self, round: int, every: int) -> bool:
        """Whether the rounds that count with `round` reach or pass a multiple of `every`."""
        first = self.wave_start(round)
        return (first + self.wave) // every > first // every

    def wave_start(self, round: int) -> int:
        """First round of the wave of `round`."""
        return round // self.wave * self.wave

    def visible(self, inserted: int) -> int:
        """Inserted rounds that the trainer may draw from: whole waves, or all at the end."""
        return inserted if inserted == self.rounds else inserted // self.wave * self.wave
