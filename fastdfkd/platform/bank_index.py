"""The bank's index without Ray: what has been reserved, inserted, granted and evicted.

Invariant: every round is in exactly one of waiting, reserved, inserted. Inserted rounds become
visible to trainers in waves (see `rate_limiter`), in round order within a wave, so every trainer's
ring fills its slots in the same order.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

from fastdfkd.platform.rate_limiter import RateLimiter


class BankIndex:
    """Keeps references of the newest `capacity_rounds` visible rounds.

    And of `spare_rounds` before them, which a trainer that goes back to a checkpoint draws from.
    """

    def __init__(self, limiter: RateLimiter, capacity_rounds: int, spare_rounds: int = 0):
        self.limiter = limiter
        self.capacity_rounds, self.spare_rounds = capacity_rounds, spare_rounds
        self.waiting = list(range(limiter.rounds))
        self.reserved: set[int] = set()
        self.pending: dict[int, Any] = {}
        """Inserted rounds of a wave that is not whole."""
        self.rounds: list[int] = []
        """Numbers of the visible rounds in the order they became visible."""
        self.references: list[Any] = []
        """Of the same rounds; None once evicted."""
        self.evicted = 0
        self.updates = 0

    @property
    def inserted(self) -> int:
        """Rounds inserted, visible or not."""
        return len(self.rounds) + len(self.pending)

    @property
    def finished(self) -> bool:
        """Whether no round is left to make or to wait for."""
        return not self.waiting and not self.reserved

    def reserve(self, synthesizer: int = 0, most: int = 1) -> list[int]:
        """The next rounds for a synthesizer, `most` at the most; empty while there is none for it.

        A synthesizer that learns from its rounds gets them in their order.
        """
        found: list[int] = []
        for round in self.waiting:
            may_start = self.limiter.may_start(round, self.inserted, self.updates)
            if len(found) == most or not may_start:
                break
            if self.limiter.is_for(round, synthesizer):
                found.append(round)
        for round in found:
            self.waiting.remove(round)
        self.reserved.update(found)
        return found

    def release(self, round: int) -> None:
        """Round `round` will not come: it is made again."""
        self.reserved.remove(round)
        bisect.insort(self.waiting, round)

    def insert(self, round: int, reference: Any) -> None:
        """Keep the images of a reserved round.

        Raises:
            ValueError: the round was not reserved, or is in the bank already.
        """
        if round not in self.reserved:
            raise ValueError(f"round {round} was not reserved: it cannot be inserted")
        self.reserved.remove(round)
        self.pending[round] = reference
        while len(self.rounds) < self.limiter.visible(self.inserted):
            first = min(self.pending)
            self.rounds.append(first)
            self.references.append(self.pending.pop(first))
        while self.evicted < len(self.rounds) - self.capacity_rounds - self.spare_rounds:
            self.references[self.evicted] = None
            self.evicted += 1

    @classmethod
    def restored(
        cls,
        limiter: RateLimiter,
        capacity_rounds: int,
        history: Iterable[tuple[int, Any]],
        updates: int,
        reserved: set[int],
        spare_rounds: int = 0,
    ) -> BankIndex:
        """What a bank was: insertions in their order, and the rounds now being made."""
        index = cls(limiter, capacity_rounds, spare_rounds)
        index.updates = updates
        for round, reference in history:
            index.waiting.remove(round)
            index.reserved.add(round)
            index.insert(round, reference)
        index.waiting = [round for round in index.waiting if round not in reserved]
        index.reserved |= reserved
        return index

    def frontier(self, updates: int) -> tuple[int, int] | None:
        """(updates allowed in all, rounds to draw from) beyond `updates`, or None while held.

        In lock-step no later round is drawn from than in the paper's order, even by a trainer that
        went back to a checkpoint.
        """
        visible = len(self.rounds)
        if self.limiter.lockstep:
            visible = min(visible, self.limiter.rounds_for(updates + 1))
        until = self.limiter.updates_allowed(visible)
        return (until, visible) if until > updates else None

    def between(self, seen: int, visible: int) -> tuple[list[int], list[Any]]:
        """Numbers and references of visible rounds from position `seen` on; None where evicted."""
        return self.rounds[seen:visible], self.references[seen:visible]

    def state(self) -> dict[str, int]:
        """Counters for logs and error messages."""
        return {
            "inserted": self.inserted,
            "reserved": len(self.reserved),
            "waiting": len(self.waiting),
            "held": min(len(self.rounds), self.capacity_rounds),
            "updates": self.updates,
        }
