"""The bank's index in plain Python: which rounds are reserved, inserted, visible or evicted.

Invariant: every round is in exactly one of waiting, reserved, inserted. Inserted rounds become
visible to trainers in waves (see `rate_limiter`), in round order within a wave, so the ring buffer
of every trainer fills its slots in the same order.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from typing import Any

from fastdfkd.platform.rate_limiter import RateLimiter


class BankIndex:
    """Keeps the references of the newest `capacity_rounds` visible rounds.

    Also keeps `spare_rounds` before them, for a trainer that restarts from a checkpoint.
    """

    def __init__(self, limiter: RateLimiter, capacity_rounds: int, spare_rounds: int = 0):
        self.limiter = limiter
        self.capacity_rounds, self.spare_rounds = capacity_rounds, spare_rounds
        self.waiting = list(range(limiter.rounds))
        self.reserved: set[int] = set()
        self.pending: dict[int, Any] = {}
        """Inserted rounds of waves that are not complete yet."""
        self.rounds: list[int] = []
        """Numbers of the visible rounds in the order they became visible."""
        self.references: list[Any] = []
        """References to the images of `rounds`, in the same order; None once evicted."""
        self.evicted = 0
        self.updates = 0

    @property
    def inserted(self) -> int:
        """Number of inserted rounds, visible or not."""
        return len(self.rounds) + len(self.pending)

    @property
    def finished(self) -> bool:
        """Whether every round is inserted."""
        return not self.waiting and not self.reserved

    def reserve(self, synthesizer: int = 0, most: int = 1) -> list[int]:
        """Reserve up to `most` rounds for a synthesizer, lowest first; empty if none may start."""
        rounds: list[int] = []
        for round in self.waiting:
            may_start = self.limiter.may_start(round, self.inserted, self.updates)
            if len(rounds) == most or not may_start:
                break
            if self.limiter.is_for(round, synthesizer):
                rounds.append(round)
        for round in rounds:
            self.waiting.remove(round)
        self.reserved.update(rounds)
        return rounds

    def release(self, round: int) -> None:
        """Return a reserved round to the waiting ones, to be made again."""
        self.reserved.remove(round)
        bisect.insort(self.waiting, round)

    def insert(self, round: int, reference: Any) -> None:
        """Keep the images of a reserved round.

        Raises:
            ValueError: the round was not reserved, or is already inserted.
        """
        if round not in self.reserved:
            raise ValueError(f"round {round} was not reserved: it cannot be inserted")
        self.reserved.remove(round)
        self.pending[round] = reference
        while len(self.rounds) < self.limiter.visible(self.inserted):
            lowest = min(self.pending)
            self.rounds.append(lowest)
            self.references.append(self.pending.pop(lowest))
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
        """The index after the insertions of `history`, in order; `reserved` are being made."""
        index = cls(limiter, capacity_rounds, spare_rounds)
        index.updates = updates
        for round, reference in history:
            index.waiting.remove(round)
            index.reserved.add(round)
            index.insert(round, reference)
        index.waiting = [round for round in index.waiting if round not in reserved]
        index.reserved |= reserved
        return index

    def file(self, filed: Mapping[int, Any]) -> None:
        """Replace references to images, by round: those that are evicted already stay so."""
        for position in range(self.evicted, len(self.rounds)):
            round = self.rounds[position]
            if round in filed and self.references[position] is not None:
                self.references[position] = filed[round]

    def frontier(self, updates: int) -> tuple[int, int] | None:
        """(total updates allowed, number of rounds to draw from); None unless beyond `updates`.

        In lock-step, update number `updates` + 1 draws from the rounds of the paper's order, even
        if the bank holds later rounds because the trainer restarted from a checkpoint.
        """
        visible = len(self.rounds)
        if self.limiter.lockstep:
            visible = min(visible, self.limiter.rounds_for(updates + 1))
        until = self.limiter.updates_allowed(visible)
        return (until, visible) if until > updates else None

    def between(self, seen: int, visible: int) -> tuple[list[int], list[Any]]:
        """Numbers and references of the visible rounds [seen, visible); None where evicted."""
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
