"""The driver's client of the bank: retries calls while the bank restarts, then restores its state.

Batches that finish during an insertion are inserted together by the next call, so the number of
calls does not grow with the number of synthesizers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.history import History
from fastdfkd.platform.sample_bank import NOT_RESTORED, Insertion
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Seconds between two checks whether the bank was restarted."""


@dataclass(eq=False)
class _PendingInsertion:
    """One synthesizer call's batches, waiting to be inserted."""

    call: Insertion
    next_rounds: Sequence[int] = ()
    """The synthesizer's next rounds; empty if the bank had none yet."""


class BankClient:
    """Calls the bank from the dispatcher's event loop."""

    def __init__(self, bank: Any, history: History, totals: SynthesisTotals):
        self.bank, self.history, self.totals = bank, history, totals
        self._restoring, self._restored_once = asyncio.Lock(), False
        self._inserting = asyncio.Lock()
        self._pending: list[_PendingInsertion] = []

    async def reserve(self, synthesizer: int, most: int) -> list[int]:
        """Reserve at most `most` rounds; empty if none is free yet."""
        rounds: list[int] = await self._call(lambda: self.bank.reserve.remote(synthesizer, most))
        self.history.in_progress.update(rounds)
        return rounds

    async def done(self) -> bool:
        """Whether no round is left to make."""
        return bool(await self._call(self.bank.done.remote))

    async def insert(self, call: Insertion) -> Sequence[int]:
        """Insert a synthesizer call's batches; return the synthesizer's next rounds."""
        insertion = _PendingInsertion(call)
        self._pending.append(insertion)
        async with self._inserting:
            if insertion in self._pending:
                insertions, self._pending = self._pending, []
                await self._insert(insertions)
        return insertion.next_rounds

    async def _insert(self, insertions: list[_PendingInsertion]) -> None:
        calls = [insertion.call for insertion in insertions]
        answers = await self._call(lambda: self.bank.insert.remote(calls))
        for insertion, next_rounds in zip(insertions, answers, strict=True):
            call = insertion.call
            for round, reference in zip(call.rounds, call.references, strict=True):
                self.history.add(round, reference)
            self.history.in_progress.update(next_rounds)
            insertion.next_rounds = next_rounds

    async def release(self, round: int) -> None:
        """Give back a reserved round whose batch was lost or refused."""
        self.history.in_progress.discard(round)
        await self._call(lambda: self.bank.release.remote(round))

    async def watch(self) -> None:
        """Restore the bank if it restarts while no synthesizer calls it. Never returns."""
        while True:
            await self._call(self.bank.check_restored.remote)
            await asyncio.sleep(WATCH_SECONDS)

    def file(self, filed: Mapping[int, Any]) -> None:
        """Replace references of rounds in the bank. Thread-safe.

        A bank that restarts now gets the new ones with the driver's history.
        """
        with contextlib.suppress(RayActorError):
            ray.get(self.bank.file.remote(filed))

    def close(self, reason: str) -> None:
        """Close the bank: trainers that wait for a grant get `reason` instead. Thread-safe."""
        with contextlib.suppress(RayActorError):
            ray.get(self.bank.close.remote(reason))

    async def _call(self, call: Callable[[], Any]) -> Any:
        """The answer to a call, repeated while the bank restarts; restores the bank if needed."""
        since = time.monotonic()
        while True:
            try:
                answer = await call()
                if answer != NOT_RESTORED:
                    return answer
                await self._restore()
            except RayActorError as error:
                if time.monotonic() - since > MOST_SECONDS_AWAY:
                    raise RuntimeError(
                        f"the sample bank did not restart within {MOST_SECONDS_AWAY:g} s: {error}"
                    ) from error
                await asyncio.sleep(0.2)

    async def _restore(self) -> None:
        async with self._restoring:
            if await self.bank.check_restored.remote() != NOT_RESTORED:
                return
            history = self.history
            if self._restored_once:
                self.totals.bank_restarts += 1
                log.warning("the sample bank was restarted: restoring %d rounds", len(history))
            insertions = [(round, [reference]) for round, reference in history.insertions]
            await self.bank.restore.remote(insertions, history.updates, sorted(history.in_progress))
            self._restored_once = True
