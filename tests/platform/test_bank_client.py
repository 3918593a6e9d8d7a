"""The driver's word with a bank that is slow, dies, or knows nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from ray.exceptions import RayActorError

from fastdfkd.platform import bank_client
from fastdfkd.platform.bank_client import BankClient
from fastdfkd.platform.bank_index import BankIndex
from fastdfkd.platform.history import History
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import UNKNOWING
from fastdfkd.platform.totals import SynthesisTotals

LIMITER = RateLimiter(rounds=20, warmup_rounds=0, updates_per_round=1, tolerance=20, wave=1)


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
        for name in ("reserve", "insert", "release", "known", "restore"):
            setattr(self, name, Remote(getattr(self, f"_{name}")))

    def die(self) -> None:
        self.index, self.knows = BankIndex(LIMITER, 20), False

    async def _known(self) -> str | None:
        return None if self.knows else UNKNOWING

    async def _restore(self, told: Any, updates: int, working: Sequence[int]) -> None:
        history = [(round, reference[0]) for round, reference in told]
        self.index = BankIndex.restored(LIMITER, 20, history, updates, set(working))
        self.knows = True

    async def _reserve(self, synthesizer: int) -> Any:
        return self.index.reserve(synthesizer) if self.knows else UNKNOWING

    async def _release(self, round: int) -> None:
        if round in self.index.reserved:
            self.index.release(round)

    async def _insert(self, batches: Sequence[tuple[int, Sequence[Any], int]]) -> Any:
        await asyncio.sleep(0.01)
        if not self.knows:
            return UNKNOWING
        for round, reference, _ in batches:
            self.index.insert(round, reference[0])
        if self.answers_lost:
            self.answers_lost -= 1
            self.die()
            raise RayActorError
        self.sizes.append(len(batches))
        return [self.index.reserve(synthesizer) for _, _, synthesizer in batches]


def client() -> tuple[BankClient, Bank]:
    bank = Bank()
    return BankClient(bank, History(20), SynthesisTotals()), bank


def test_batches_that_arrive_together_are_inserted_together() -> None:
    async def run() -> None:
        asking, bank = client()
        rounds = [await asking.reserve(index) for index in range(5)]
        following = await asyncio.gather(
            *(asking.insert(index, round, f"ref {round}") for index, round in enumerate(rounds))
        )
        assert bank.sizes == [1, 4], "the first alone, then all that came meanwhile"
        assert following == [5, 6, 7, 8, 9]
        assert asking.history.insertions == [(round, f"ref {round}") for round in range(5)]
        assert asking.history.working == {5, 6, 7, 8, 9}
        assert bank.index.references == [f"ref {round}" for round in range(5)]

    asyncio.run(run())


def test_a_bank_that_dies_with_its_answer_has_every_batch_once() -> None:
    async def run() -> None:
        asking, bank = client()
        rounds = [await asking.reserve(index) for index in range(3)]
        bank.answers_lost = 1
        await asyncio.gather(
            *(asking.insert(index, round, f"ref {round}") for index, round in enumerate(rounds))
        )
        assert sorted(bank.index.rounds) == [0, 1, 2]
        assert sorted(round for round, _ in asking.history.insertions) == [0, 1, 2]
        assert asking.totals.bank_restarts == 1
        assert bank.index.reserved == asking.history.working

    asyncio.run(run())


def test_a_round_given_back_to_a_restarted_bank_is_free_once() -> None:
    async def run() -> None:
        asking, bank = client()
        first, second = await asking.reserve(0), await asking.reserve(0)
        bank.die()
        assert first is not None
        await asking.release(first)
        assert await asking.reserve(0) == first, "the new bank was told without it"
        assert bank.index.reserved == {first, second}

    asyncio.run(run())


def test_a_bank_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_client, "MOST_SECONDS_AWAY", 0.1)

    async def dead(_: int) -> None:
        raise RayActorError

    async def run() -> None:
        asking, bank = client()
        bank.reserve = Remote(dead)
        with pytest.raises(RuntimeError, match=r"did not come back within 0\.1 s"):
            await asking.reserve(0)

    asyncio.run(run())
