"""The bank's client with a bank that is slow, dies or is not restored."""

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


def insertion(synthesizer: int, rounds: list[int]) -> Insertion:
    return Insertion(synthesizer, rounds, [f"ref {round}" for round in rounds], len(rounds))


def client() -> tuple[BankClient, Bank]:
    bank = Bank()
    return BankClient(bank, History(20), SynthesisTotals()), bank


def test_batches_that_finish_during_an_insertion_are_inserted_together() -> None:
    async def run() -> None:
        driver, bank = client()
        calls = [insertion(index, await driver.reserve(index, 1)) for index in range(5)]
        next_rounds = await asyncio.gather(*map(driver.insert, calls))
        assert bank.sizes == [1, 4], "the first alone, then all that came meanwhile"
        assert next_rounds == [[5], [6], [7], [8], [9]]
        assert driver.history.insertions == [(round, f"ref {round}") for round in range(5)]
        assert driver.history.in_progress == {5, 6, 7, 8, 9}
        assert bank.index.references == [f"ref {round}" for round in range(5)]

    asyncio.run(run())


def test_a_bank_that_dies_after_an_insertion_gets_every_batch_once() -> None:
    async def run() -> None:
        driver, bank = client()
        calls = [insertion(index, await driver.reserve(index, 2)) for index in range(3)]
        bank.answers_lost = 1
        await asyncio.gather(*map(driver.insert, calls))
        assert sorted(bank.index.rounds) == [0, 1, 2, 3, 4, 5]
        assert sorted(round for round, _ in driver.history.insertions) == [0, 1, 2, 3, 4, 5]
        assert driver.totals.bank_restarts == 1
        assert bank.index.reserved == driver.history.in_progress

    asyncio.run(run())


def test_a_round_released_to_a_restarted_bank_is_reserved_once() -> None:
    async def run() -> None:
        driver, bank = client()
        first, second = await driver.reserve(0, 2)
        bank.die()
        await driver.release(first)
        assert await driver.reserve(0, 1) == [first], "the bank was restored without it"
        assert bank.index.reserved == {first, second}

    asyncio.run(run())


def test_a_bank_that_does_not_restart_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_client, "MOST_SECONDS_AWAY", 0.1)

    async def dead(*_: int) -> None:
        raise RayActorError

    async def run() -> None:
        driver, bank = client()
        bank.reserve = Remote(dead)
        with pytest.raises(RuntimeError, match=r"did not restart within 0\.1 s"):
            await driver.reserve(0, 1)

    asyncio.run(run())
