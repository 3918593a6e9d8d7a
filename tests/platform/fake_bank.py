"""A fake bank actor: coroutines around the real index."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayActorError

from fastdfkd.platform.bank_index import BankIndex
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import NOT_RESTORED, Insertion

LIMITER = RateLimiter(
    rounds=20, warmup_rounds=0, updates_per_round=1, tolerance=20, wave=1, publish_every=1
)


class Remote:
    """`handle.method`: `remote` calls the method."""

    def __init__(self, method: Any):
        self.remote = method


class Bank:
    """Answers as `SampleBank` does; `die` is a restart."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        """Synthesizer calls per insertion."""
        self.answers_lost = 0
        """Insertions after which the bank dies without an answer."""
        self.die()
        for name in ("reserve", "insert", "release", "check_restored", "restore", "done"):
            setattr(self, name, Remote(getattr(self, f"_{name}")))

    def die(self) -> None:
        self.index, self.restored = BankIndex(LIMITER, 20), False

    async def _check_restored(self) -> str | None:
        return None if self.restored else NOT_RESTORED

    async def _done(self) -> bool:
        return self.restored and self.index.finished

    async def _restore(self, insertions: Any, updates: int, reserved: Sequence[int]) -> None:
        history = [(round, reference[0]) for round, reference in insertions]
        self.index = BankIndex.restored(LIMITER, 20, history, updates, set(reserved))
        self.restored = True

    async def _reserve(self, synthesizer: int, most: int) -> Any:
        return self.index.reserve(synthesizer, most) if self.restored else NOT_RESTORED

    async def _release(self, round: int) -> None:
        if round in self.index.reserved:
            self.index.release(round)

    async def _insert(self, calls: Sequence[Insertion]) -> Any:
        await asyncio.sleep(0.01)
        if not self.restored:
            return NOT_RESTORED
        for call in calls:
            for round, reference in zip(call.rounds, call.references, strict=True):
                self.index.insert(round, reference)
        if self.answers_lost:
            self.answers_lost -= 1
            self.die()
            raise RayActorError
        self.sizes.append(len(calls))
        return [self.index.reserve(call.synthesizer, call.wanted) for call in calls]
