r"""The sample bank: an index of references, with the policies of who may go on.

No image passes through it. The images lie in Ray's object store and belong to the run's driver,
which called the synthesizers for them; the bank hands references on. Life of a round:

    reserve -> (synthesizer works) -> insert -> grant to trainers -> evicted, oldest first
        \-> release (its synthesizer died, or its batch was refused) -> reserve again

A bank that was restarted knows nothing: it gives no leave and answers `UNKNOWING` to the driver
until that has restored it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.platform.bank_index import BankIndex
from fastdfkd.platform.rate_limiter import RateLimiter

POLL_SECONDS = 5.0
"""Longest time that a call waits before it answers "not yet"."""

UNKNOWING = "unknowing"
"""Answer of a bank that has to be told first what it was."""


@dataclass(frozen=True)
class Insertion:
    """What one call of a synthesizer brings."""

    synthesizer: int
    rounds: list[int]
    references: list[Any]
    """Their images; Ray leaves references inside an argument unread."""
    wanted: int
    """Rounds that its next call should make, at the most."""


@dataclass(frozen=True)
class Grant:
    """Leave for a trainer to go on."""

    until: int
    """Student updates that may have been made in all."""
    rounds: list[int]
    """Numbers of the visible rounds that the trainer has not seen, in the bank's order."""
    references: list[Any]
    """Their images; None where they were evicted before this trainer saw them."""


@ray.remote(num_cpus=0, max_restarts=-1)
class SampleBank:
    """`BankIndex` as an actor. One event loop: every wait is on the same condition."""

    def __init__(self, limiter: RateLimiter, capacity_rounds: int, spare_rounds: int = 0):
        self.index = BankIndex(limiter, capacity_rounds, spare_rounds)
        self.changed = asyncio.Condition()
        self.knows = False
        self.closed: str | None = None
        """Why no more leave is given."""
        self.frontiers: dict[int, tuple[int, int]] = {}

    async def restore(
        self, history: Sequence[tuple[int, Any]], updates: int, reserved: Sequence[int]
    ) -> None:
        """Become what the driver says the bank is: at the start, and after a restart.

        Args:
            history: (round, list of its reference) in the order of insertion; the list holds None
                where the images are gone.
            updates: student updates made.
            reserved: rounds that synthesizers are at.
        """
        self.index = BankIndex.restored(
            self.index.limiter,
            self.index.capacity_rounds,
            [(round, reference[0]) for round, reference in history],
            max(updates, self.index.updates),
            set(reserved),
            self.index.spare_rounds,
        )
        self.knows = True
        await self._notify()

    async def reserve(self, synthesizer: int, most: int) -> list[int] | str:
        """The next rounds for a synthesizer, `most` at the most.

        None after `POLL_SECONDS` without one: look again, unless the run is `done`.
        """
        return await self._wait(lambda: self._next_rounds(synthesizer, most)) or []

    async def known(self) -> str | None:
        """`UNKNOWING`, or None once it has been restored."""
        return None if self.knows else UNKNOWING

    async def done(self) -> bool:
        """Whether no round is left to make or to wait for."""
        return self._over()

    async def close(self, reason: str) -> None:
        """The run is ending: whoever asks for leave is told the reason."""
        self.closed = reason
        await self._notify()

    async def release(self, round: int) -> None:
        """Give a reserved round back; after a restart of the bank it may be back already."""
        if round in self.index.reserved:
            self.index.release(round)
            await self._notify()

    async def insert(self, calls: Sequence[Insertion]) -> list[list[int]] | str:
        """Keep the images of finished rounds, those of one or more calls.

        Returns:
            For each call its synthesizer's next rounds, none where there are none yet.
            `UNKNOWING`: nothing was taken.
        """
        if not self.knows:
            return UNKNOWING
        for call in calls:
            for round, reference in zip(call.rounds, call.references, strict=True):
                self.index.insert(round, reference)
        await self._notify()
        if self._over():
            return [[] for _ in calls]
        return [self.index.reserve(call.synthesizer, call.wanted) for call in calls]

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
            frontier = await self._wait(lambda: self.closed or self._frontier(updates))
            if not isinstance(frontier, tuple):
                return frontier  # type: ignore[no-any-return]
            self.frontiers = {updates: self.frontiers.get(updates, frontier)}
        until, visible = self.frontiers[updates]
        return Grant(until, *self.index.between(seen, visible))

    async def state(self) -> dict[str, int]:
        """Counters for logs and error messages."""
        return self.index.state()

    def _next_rounds(self, synthesizer: int, most: int) -> list[int] | str | None:
        """None: wait."""
        if not self.knows:
            return UNKNOWING
        return [] if self._over() else self.index.reserve(synthesizer, most) or None

    def _frontier(self, updates: int) -> tuple[int, int] | None:
        return self.index.frontier(updates) if self.knows else None

    def _over(self) -> bool:
        return self.closed is not None or (self.knows and self.index.finished)

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
