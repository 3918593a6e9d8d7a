"""The driver's word with the bank: asked again while the bank is away, and told what it was.

Batches that are finished while an insertion is on its way go into the next one together, so the
bank's calls do not grow with the number of synthesizers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from fastdfkd.platform.history import History
from fastdfkd.platform.sample_bank import UNKNOWING
from fastdfkd.platform.totals import SynthesisTotals
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Pause between two looks at whether the bank was restarted."""


@dataclass(eq=False)
class _Insertion:
    """A finished batch on its way into the bank."""

    synthesizer: int
    round: int
    reference: Any
    following: int | None = None
    """The synthesizer's next round, if the bank had one at once."""


class BankClient:
    """Asks the bank, in the dispatcher's event loop."""

    def __init__(self, bank: Any, history: History, totals: SynthesisTotals):
        self.bank, self.history, self.totals = bank, history, totals
        self._restoring, self._told = asyncio.Lock(), False
        self._inserting = asyncio.Lock()
        self._arrived: list[_Insertion] = []

    async def reserve(self, synthesizer: int) -> int | None:
        """A round to make; None where there is none yet."""
        answer = await self._ask(lambda: self.bank.reserve.remote(synthesizer))
        if answer is not None:
            self.history.working.add(answer)
        return answer  # type: ignore[no-any-return]

    async def done(self) -> bool:
        """Whether no round is left to make."""
        return bool(await self._ask(self.bank.done.remote))

    async def insert(self, synthesizer: int, round: int, reference: Any) -> int | None:
        """Give a batch to the bank; answers with the synthesizer's next round if there is one."""
        mine = _Insertion(synthesizer, round, reference)
        self._arrived.append(mine)
        async with self._inserting:
            if mine in self._arrived:
                batches, self._arrived = self._arrived, []
                await self._insert(batches)
        return mine.following

    async def _insert(self, batches: list[_Insertion]) -> None:
        told = [(each.round, [each.reference], each.synthesizer) for each in batches]
        answers = await self._ask(lambda: self.bank.insert.remote(told))
        for batch, following in zip(batches, answers, strict=True):
            self.history.add(batch.round, batch.reference)
            batch.following = following
        self.history.working.update(round for round in answers if round is not None)

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
