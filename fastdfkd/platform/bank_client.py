"""The driver's word with the bank: asked again while the bank is away, and told what it was.

Batches that are finished while an insertion is on its way go into the next one together, so the
bank's calls do not grow with the number of synthesizers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.history import History
from fastdfkd.platform.sample_bank import UNKNOWING, Insertion
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Pause between two looks at whether the bank was restarted."""


@dataclass(eq=False)
class _Arrival:
    """A call's batches on their way into the bank."""

    call: Insertion
    following: Sequence[int] = ()
    """The synthesizer's next rounds, if the bank had any at once."""


class BankClient:
    """Asks the bank, in the dispatcher's event loop."""

    def __init__(self, bank: Any, history: History, totals: SynthesisTotals):
        self.bank, self.history, self.totals = bank, history, totals
        self._restoring, self._told = asyncio.Lock(), False
        self._inserting = asyncio.Lock()
        self._arrived: list[_Arrival] = []

    async def reserve(self, synthesizer: int, most: int) -> list[int]:
        """Rounds to make, `most` at the most; none where there are none yet."""
        rounds: list[int] = await self._ask(lambda: self.bank.reserve.remote(synthesizer, most))
        self.history.working.update(rounds)
        return rounds

    async def done(self) -> bool:
        """Whether no round is left to make."""
        return bool(await self._ask(self.bank.done.remote))

    async def insert(self, call: Insertion) -> Sequence[int]:
        """Give a call's batches to the bank; answers with the synthesizer's next rounds."""
        mine = _Arrival(call)
        self._arrived.append(mine)
        async with self._inserting:
            if mine in self._arrived:
                arrivals, self._arrived = self._arrived, []
                await self._insert(arrivals)
        return mine.following

    async def _insert(self, arrivals: list[_Arrival]) -> None:
        told = [each.call for each in arrivals]
        answers = await self._ask(lambda: self.bank.insert.remote(told))
        for arrival, following in zip(arrivals, answers, strict=True):
            for round, reference in zip(arrival.call.rounds, arrival.call.references, strict=True):
                self.history.add(round, reference)
            self.history.working.update(following)
            arrival.following = following

    async def release(self, round: int) -> None:
        """Give a round back that will not come."""
        self.history.working.discard(round)
        await self._ask(lambda: self.bank.release.remote(round))

    async def watch(self) -> None:
        """Restore a bank that is restarted while no synthesizer asks for anything. Never ends."""
        while True:
            await self._ask(self.bank.known.remote)
            await asyncio.sleep(WATCH_SECONDS)

    def close(self, reason: str) -> None:
        """Tell everybody who waits at the bank that the run ends, and why. For any thread."""
        with contextlib.suppress(RayActorError):
            ray.get(self.bank.close.remote(reason))

    async def _ask(self, call: Callable[[], Any]) -> Any:
        """The answer of a bank that knows the run, which it is told first if need be."""
        since = time.monotonic()
        while True:
            try:
                answer = await call()
                if answer != UNKNOWING:
                    return answer
                await self._restore()
            except RayActorError as error:
                if time.monotonic() - since > MOST_SECONDS_AWAY:
                    raise RuntimeError(
                        f"the sample bank did not come back within {MOST_SECONDS_AWAY:g} s: {error}"
                    ) from error
                await asyncio.sleep(0.2)

    async def _restore(self) -> None:
        async with self._restoring:
            if await self.bank.known.remote() != UNKNOWING:
                return
            history = self.history
            if self._told:
                self.totals.bank_restarts += 1
                log.warning("the bank was restarted: telling it of %d rounds", len(history))
            told = [(round, [reference]) for round, reference in history.insertions]
            await self.bank.restore.remote(told, history.updates, sorted(history.working))
            self._told = True
