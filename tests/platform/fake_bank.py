"""A bank behind coroutines: the index is the real one, the actor is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayActorError

from fastdfkd.platform.bank_index import BankIndex
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import UNKNOWING, Insertion

LIMITER = RateLimiter(
    rounds=20, warmup_rounds=0, updates_per_round=1, tolerance=20, wave=1, publish_every=1
)


class Remote:
    """`bank.method` of an actor handle."""

    def __init__(self, method: Any):
        self.remote = method


class Bank:
    """The index behind coroutines that take their time; `die` is a restart."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.answers_lost = 0
        self.die()
        for name in ("reserve", "insert", "release", "known", "restore", "done"):
            setattr(self, name, Remote(getattr(self, f"_{name}")))

    def die(self) -> None:
        self.index, self.knows = BankIndex(LIMITER, 20), False

    async def _known(self) -> str | None:
        return None if self.knows else UNKNOWING

    async def _done(self) -> bool:
        return self.knows and self.index.finished

    async def _restore(self, told: Any, updates: int, working: Sequence[int]) -> None:
        history = [(round, reference[0]) for round, reference in told]
        self.index = BankIndex.restored(LIMITER, 20, history, updates, set(working))
        self.knows = True

    async def _reserve(self, synthesizer: int, most: int) -> Any:
        return self.index.reserve(synthesizer, most) if self.knows else UNKNOWING

    async def _release(self, round: int) -> None:
        if round in self.index.reserved:
            self.index.release(round)

    async def _insert(self, calls: Sequence[Insertion]) -> Any:
        await asyncio.sleep(0.01)
        if not self.knows:
            return UNKNOWING
        for call in calls:
            for round, reference in zip(call.rounds, call.references, strict=True):
                self.index.insert(round, reference)
        if self.answers_lost:
            self.answers_lost -= 1
            self.die()
            raise RayActorError
        self.sizes.append(len(calls))
        return [self.index.reserve(call.synthesizer, call.wanted) for call in calls]
