r"""The sample bank: an index of references, with the policies of who may go on.

No image passes through it. The images lie in Ray's object store and belong to the run's driver,
which called the synthesizers for them; the bank hands references on. Life of a round:

    reserve -> (synthesizer works) -> insert -> grant to trainers -> evicted, oldest first
        \-> release (its synthesizer died) -> reserve again

Invariant: every round is in exactly one of waiting, reserved, inserted. References are kept in
round order within a wave, so every trainer's mirror fills its slots in the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.platform.rate_limiter import RateLimiter

POLL_SECONDS = 5.0
"""Longest time that a call waits before it answers "not yet"."""


@dataclass(frozen=True)
class Grant:
    """Leave for a trainer to go on."""

    until: int
    """Student updates that may have been made in all."""
    new: list[Any]
    """References to the images of rounds that the trainer has not seen, oldest first."""
    skipped: int
    """Rounds that were evicted before this trainer saw them; they come before `new`."""


class BankIndex:
    """The bank without Ray: what has been reserved, inserted, granted and evicted."""

    def __init__(self, limiter: RateLimiter, capacity_rounds: int):
        self.limiter, self.capacity_rounds = limiter, capacity_rounds
        self.waiting = list(range(limiter.rounds))
        self.reserved: set[int] = set()
        self.pending: dict[int, Any] = {}
        """Inserted rounds of a wave that is not whole."""
        self.entries: list[Any] = []
        """References of visible rounds, by order of visibility; evicted ones are None."""
        self.evicted = 0
        self.updates = 0

    @property
    def inserted(self) -> int:
        """Rounds inserted, visible or not."""
        return len(self.entries) + len(self.pending)

    def reserve(self) -> int | None:
        """The next round to make, or None while the limiter holds it back or none is left."""
        if not self.waiting:
            return None
        if not self.limiter.may_start(self.waiting[0], self.inserted, self.updates):
            return None
        round = self.waiting.pop(0)
        self.reserved.add(round)
        return round

    def release(self, round: int) -> None:
        """Round `round` will not come: it is made again."""
        self.reserved.remove(round)
        self.waiting = sorted([round, *self.waiting])

    def insert(self, round: int, reference: Any) -> None:
        """Keep the images of a reserved round.

        Raises:
            ValueError: the round was not reserved, or is in the bank already.
        """
        if round not in self.reserved:
            raise ValueError(f"round {round} was not reserved: it cannot be inserted")
        self.reserved.remove(round)
        self.pending[round] = reference
        while len(self.entries) < self.limiter.visible(self.inserted):
            self.entries.append(self.pending.pop(min(self.pending)))
        while self.evicted < len(self.entries) - self.capacity_rounds:
            self.entries[self.evicted] = None
            self.evicted += 1

    def frontier(self, updates: int) -> tuple[int, int] | None:
        """(updates allowed in all, rounds to draw from) beyond `updates`, or None while held."""
        until = self.limiter.updates_allowed(self.inserted)
        return (until, len(self.entries)) if until > updates else None

    def rounds_between(self, seen: int, visible: int) -> tuple[list[Any], int]:
        """References of visible rounds from number `seen` on, and how many were evicted."""
        first = min(max(seen, self.evicted), visible)
        return self.entries[first:visible], first - seen

    def state(self) -> dict[str, int]:
        """Counters for logs and error messages."""
        return {
            "inserted": self.inserted,
            "reserved": len(self.reserved),
            "waiting": len(self.waiting),
            "held": len(self.entries) - self.evicted,
            "updates": self.updates,
        }


@ray.remote(num_cpus=0)
class SampleBank:
    """`BankIndex` as an actor. One event loop: every wait is on the same condition."""

    def __init__(self, limiter: RateLimiter, capacity_rounds: int):
        self.index = BankIndex(limiter, capacity_rounds)
        self.changed = asyncio.Condition()
        self.closed: str | None = None
        """Why no more leave is given."""
        self.frontiers: dict[int, tuple[int, int]] = {}

    async def reserve(self) -> int | None:
        """The next round to make, or None after `POLL_SECONDS` without one: look again."""
        answer = await self._wait(lambda: self.index.reserve() if not self._over() else -1)
        return None if answer == -1 else answer

    async def done(self) -> bool:
        """Whether no round is left to make or to wait for."""
        return self._over()

    async def close(self, reason: str) -> None:
        """The run is ending: whoever asks for leave is told the reason."""
        self.closed = reason
        await self._notify()

    async def release(self, round: int) -> None:
        """Give a reserved round back."""
        self.index.release(round)
        await self._notify()

    async def insert(self, round: int, reference: Sequence[Any]) -> dict[str, int]:
        """Keep a round's images; `reference` is a list of one, so that Ray leaves it unread."""
        self.index.insert(round, reference[0])
        await self._notify()
        return self.index.state()

    async def grant(self, updates: int, seen: int, leader: bool) -> Grant | str | None:
        """Leave to go on; None after `POLL_SECONDS` without it; why, if there will be none.

        All workers of a group ask with the same `updates` and are led to the same frontier; the
        leader's question also reports its updates to the limiter.

        Args:
            updates: student updates that the trainer has made.
            seen: visible rounds that its buffer has taken in.
            leader: whether this is rank 0.
        """
        if leader and updates > self.index.updates:
            self.index.updates = updates
            await self._notify()
        if updates not in self.frontiers:
            frontier = await self._wait(lambda: self.closed or self.index.frontier(updates))
            if not isinstance(frontier, tuple):
                return frontier  # type: ignore[no-any-return]
            self.frontiers = {updates: self.frontiers.get(updates, frontier)}
        until, visible = self.frontiers[updates]
        return Grant(until, *self.index.rounds_between(seen, visible))

    async def state(self) -> dict[str, int]:
        """Counters for logs and error messages."""
        return self.index.state()

    def _over(self) -> bool:
        return self.closed is not None or not (self.index.waiting or self.index.reserved)

    async def _wait(self, ask: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(POLL_SECONDS), self.changed:
                while (answer := ask()) is None:
                    await self.changed.wait()
                return answer
        except TimeoutError:
            return None

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()
