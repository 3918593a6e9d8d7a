r"""The sample bank: an index of references to images, behind a rate limiter.

No image passes through the bank. The images are in Ray's object store, owned by the driver, which
called the synthesizers; the bank passes references on. Once a checkpoint has a round, `file`
replaces its reference by the name of the file, and the object store is free of it. Life of a round:

    reserve -> (synthesis) -> insert -> grant to trainers -> file -> evict, oldest first
        \-> release (its synthesizer died, or its batch was refused) -> reserve again

A restarted bank is empty. Until the driver restores it, it grants nothing and answers
`NOT_RESTORED`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.platform.bank_index import BankIndex
from fastdfkd.platform.rate_limiter import RateLimiter

POLL_SECONDS = 5.0
"""Longest time that a call waits before it answers "not yet"."""

NOT_RESTORED = "not restored"
"""Answer of a restarted bank that the driver has not restored yet."""


@dataclass(frozen=True)
class Insertion:
    """The batches of one synthesizer call."""

    synthesizer: int
    rounds: list[int]
    references: list[Any]
    """References to the rounds' images; Ray does not resolve references inside an argument."""
    wanted: int
    """Most rounds to reserve for the synthesizer's next call."""


@dataclass(frozen=True)
class Grant:
    """Permission for a trainer to make more updates, and the rounds it has not seen."""

    until: int
    """Total student updates allowed."""
    rounds: list[int]
    """Numbers of the visible rounds that the trainer has not seen, in the bank's order."""
    references: list[Any]
    """References to their images, or `FiledImages`; None where they were evicted before this
    trainer saw them."""


@ray.remote(num_cpus=0, max_restarts=-1)
class SampleBank:
    """`BankIndex` as an actor with one event loop, where all waiting calls share a condition."""

    def __init__(self, limiter: RateLimiter, capacity_rounds: int, spare_rounds: int = 0):
        self.index = BankIndex(limiter, capacity_rounds, spare_rounds)
        self.changed = asyncio.Condition()
        self.restored = False
        self.closed: str | None = None
        """Why nothing is granted any more; None while open."""
        self.frontiers: dict[int, tuple[int, int]] = {}
        """By updates made, the frontier granted to the first worker that asked."""

    async def restore(
        self, history: Sequence[tuple[int, Any]], updates: int, reserved: Sequence[int]
    ) -> None:
        """Set the bank's state, at the start and after a restart.

        Args:
            history: (round, [reference]) in the order of insertion; [None] where the images are
                gone.
            updates: student updates made.
            reserved: rounds that synthesizers are making.
        """
        self.index = BankIndex.restored(
            self.index.limiter,
            self.index.capacity_rounds,
            [(round, reference[0]) for round, reference in history],
            max(updates, self.index.updates),
            set(reserved),
            self.index.spare_rounds,
        )
        self.restored = True
        await self._notify()

    async def reserve(self, synthesizer: int, most: int) -> list[int] | str:
        """Reserve at most `most` rounds for a synthesizer.

        Returns:
            The rounds. Empty after `POLL_SECONDS` without one: call again, unless `done`.
            `NOT_RESTORED`: nothing was reserved.
        """
        return await self._wait(lambda: self._next_rounds(synthesizer, most)) or []

    async def check_restored(self) -> str | None:
        """None if the bank has been restored, else `NOT_RESTORED`."""
        return None if self.restored else NOT_RESTORED

    async def done(self) -> bool:
        """Whether every round is inserted, or the bank is closed."""
        return self._over()

    async def close(self, reason: str) -> None:
        """Grant nothing any more: `grant` answers with `reason`, and no round is reserved."""
        self.closed = reason
        await self._notify()

    async def release(self, round: int) -> None:
        """Return a reserved round; no effect if it is not reserved, as after a restart."""
        if round in self.index.reserved:
            self.index.release(round)
            await self._notify()

    async def insert(self, calls: Sequence[Insertion]) -> list[list[int]] | str:
        """Keep the images of finished rounds of one or more synthesizer calls.

        Returns:
            For each call the synthesizer's next rounds, empty if none may start yet.
            `NOT_RESTORED`: nothing was inserted.
        """
        if not self.restored:
            return NOT_RESTORED
        for call in calls:
            for round, reference in zip(call.rounds, call.references, strict=True):
                self.index.insert(round, reference)
        await self._notify()
        if self._over():
            return [[] for _ in calls]
        return [self.index.reserve(call.synthesizer, call.wanted) for call in calls]

    async def file(self, filed: Mapping[int, Any]) -> None:
        """Replace references of rounds; see `History.file`."""
        self.index.file(filed)

    async def grant(self, updates: int, seen: int, leader: bool) -> Grant | str | None:
        """Wait until a trainer may make more updates.

        All workers of a group call with the same `updates` and get the same frontier. The leader's
        call also reports `updates` to the rate limiter.

        Args:
            updates: student updates that the trainer has made.
            seen: visible rounds that its buffer has loaded.
            leader: whether this is rank 0.

        Returns:
            The grant; None after `POLL_SECONDS` without one: call again; the reason if the bank
            is closed.
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
        """Rounds to answer `reserve` with; None: wait."""
        if not self.restored:
            return NOT_RESTORED
        return [] if self._over() else self.index.reserve(synthesizer, most) or None

    def _frontier(self, updates: int) -> tuple[int, int] | None:
        return self.index.frontier(updates) if self.restored else None

    def _over(self) -> bool:
        return self.closed is not None or (self.restored and self.index.finished)

    async def _wait(self, query: Callable[[], Any]) -> Any:
        """The first answer of `query` that is not None; None after `POLL_SECONDS`."""
        try:
            async with asyncio.timeout(POLL_SECONDS), self.changed:
                while (answer := query()) is None:
                    await self.changed.wait()
                return answer
        except TimeoutError:
            return None

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()
