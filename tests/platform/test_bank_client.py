"""The driver's word with a bank that is slow, dies, or knows nothing."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import RayActorError

from fastdfkd.platform import bank_client
from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.bank_client import BankClient
from fastdfkd.platform.history import History
from fastdfkd.platform.sample_bank import Insertion
from tests.platform.fake_bank import Bank, Remote


def brought(synthesizer: int, rounds: list[int]) -> Insertion:
    return Insertion(synthesizer, rounds, [f"ref {round}" for round in rounds], len(rounds))


def client() -> tuple[BankClient, Bank]:
    bank = Bank()
    return BankClient(bank, History(20), SynthesisTotals()), bank


def test_batches_that_arrive_together_are_inserted_together() -> None:
    async def run() -> None:
        asking, bank = client()
        calls = [brought(index, await asking.reserve(index, 1)) for index in range(5)]
        following = await asyncio.gather(*map(asking.insert, calls))
        assert bank.sizes == [1, 4], "the first alone, then all that came meanwhile"
        assert following == [[5], [6], [7], [8], [9]]
        assert asking.history.insertions == [(round, f"ref {round}") for round in range(5)]
        assert asking.history.working == {5, 6, 7, 8, 9}
        assert bank.index.references == [f"ref {round}" for round in range(5)]

    asyncio.run(run())


def test_a_bank_that_dies_with_its_answer_has_every_batch_once() -> None:
    async def run() -> None:
        asking, bank = client()
        calls = [brought(index, await asking.reserve(index, 2)) for index in range(3)]
        bank.answers_lost = 1
        await asyncio.gather(*map(asking.insert, calls))
        assert sorted(bank.index.rounds) == [0, 1, 2, 3, 4, 5]
        assert sorted(round for round, _ in asking.history.insertions) == [0, 1, 2, 3, 4, 5]
        assert asking.totals.bank_restarts == 1
        assert bank.index.reserved == asking.history.working

    asyncio.run(run())


def test_a_round_given_back_to_a_restarted_bank_is_free_once() -> None:
    async def run() -> None:
        asking, bank = client()
        first, second = await asking.reserve(0, 2)
        bank.die()
        await asking.release(first)
        assert await asking.reserve(0, 1) == [first], "the new bank was told without it"
        assert bank.index.reserved == {first, second}

    asyncio.run(run())


def test_a_bank_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_client, "MOST_SECONDS_AWAY", 0.1)

    async def dead(*_: int) -> None:
        raise RayActorError

    async def run() -> None:
        asking, bank = client()
        bank.reserve = Remote(dead)
        with pytest.raises(RuntimeError, match=r"did not come back within 0\.1 s"):
            await asking.reserve(0, 1)

    asyncio.run(run())
