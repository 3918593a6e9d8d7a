"""The driver's side of synthesis: gives rounds to synthesizers and their batches to the bank.

The driver calls the synthesizers, so it owns their batches: a batch outlives the actor that made
it, and a bank that was restarted is told of all of them again. A round is the unit of retry: when
a synthesizer dies, or its batch is refused, the round goes back and is made by whoever is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError

from fastdfkd.platform.sample_bank import UNKNOWING
from fastdfkd.platform.totals import BatchRecord, SynthesisTotals
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY, SAY_EVERY_SECONDS

log = logging.getLogger(__name__)

MOST_DEATHS_IN_A_ROW = 10
"""Deaths of one synthesizer without a batch between them after which the run gives up."""
_WATCH_SECONDS = 1.0
MOST_REFUSALS_IN_A_ROW = 5
"""Batches of one synthesizer refused without a good one between them, likewise."""


class Dispatcher:
    """Runs an event loop beside the driver while the student trains. Use as a context manager.

    Its first error ends it and is kept in `error`; the bank is closed so that the trainer ends.
    """

    def __init__(
        self,
        bank: Any,
        board: Any,
        synthesizers: Sequence[Any],
        keeps_rounds: int,
        totals: SynthesisTotals | None = None,
        history: Sequence[tuple[int, Any]] = (),
        updates: int = 0,
        needs_all: bool = False,
    ):
        """Say what to drive; nothing is asked for yet.

        Args:
            bank: the sample bank.
            board: the weight board.
            synthesizers: their actors, by index.
            keeps_rounds: newest rounds whose images `evict` leaves.
            totals: of a resumed run.
            history: (round, reference) in the bank's order, of a resumed run.
            updates: student updates made, in a resumed run.
            needs_all: whether the rounds of one synthesizer cannot be made by another (lock-step).
        """
        self.needs_all = needs_all
        self.bank, self.board, self.synthesizers = bank, board, synthesizers
        self.keeps_rounds, self._evicted = keeps_rounds, 0
        self.totals = totals or SynthesisTotals()
        self.history: list[tuple[int, Any]] = list(history)
        """(round, reference) of all insertions in order; the reference is None once let go."""
        self.updates = updates
        """Student updates that the monitor last heard of."""
        self.error: BaseException | None = None
        self._working: set[int] = set()
        self._away: set[int] = set()
        self._attempts: Counter[int] = Counter()
        self._restoring, self._told = asyncio.Lock(), False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def __enter__(self) -> Dispatcher:
        """Start giving out rounds."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop giving out rounds and wait for the loop to end; after an error wait for no batch."""
        self._stop.set()
        if kind is not None:
            for actor in self.synthesizers:
                ray.kill(actor)
        self._thread.join(timeout=30)

    def end(self, error: BaseException) -> None:
        """End the run early: nobody gets more leave, and the driver raises `error`."""
        self.error = self.error or error
        self._close_bank()

    def evict(self, rounds: int) -> None:
        """Let go of the images that no checkpoint needs any more.

        A checkpoint of the trainer is written a little later than it was taken, from references
        that the bank may have given up: some rounds more than it keeps are held until then.

        Args:
            rounds: length of `history` when the last checkpoint was asked for.
        """
        for place in range(self._evicted, rounds - self.keeps_rounds):
            self.history[place] = (self.history[place][0], None)
            self._evicted = place + 1

    def newest_images(self) -> Any:
        """Images of the newest batch that is not lost, (B, C, H, W) uint8, read from the store."""
        for _, reference in reversed(self.history):
            if reference is not None:
                with contextlib.suppress(ObjectLostError):
                    return ray.get(reference)
        raise RuntimeError("the images of every batch are lost with their nodes")

    def held(self, rounds: Sequence[int]) -> list[int]:
        """Those of `rounds` whose images are not evicted, in the same order."""
        there = {round for round, reference in self.history if reference is not None}
        return [round for round in rounds if round in there]

    def images_of(self, rounds: Sequence[int]) -> list[Any]:
        """Images of rounds that are still held, read from the store."""
        references = dict(self.history)
        return list(ray.get([references[round] for round in rounds]))

    def _run(self) -> None:
        try:
            asyncio.run(self._drive_all())
        except BaseException as error:  # handed to the driver, which raises it
            self.end(error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error)
        while self.error is not None and not self._stop.wait(_WATCH_SECONDS):
            self._close_bank()  # again, because one that was restarted knows nothing of it

    def _close_bank(self) -> None:
        with contextlib.suppress(RayActorError):
            ray.get(self.bank.close.remote(str(self.error)))

    async def _drive_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_bank())
            for index, actor in enumerate(self.synthesizers):
                group.create_task(self._drive(index, actor))

    async def _watch_bank(self) -> None:
        """Restore a bank that is restarted while no synthesizer asks for anything."""
        since = time.monotonic()
        while self.error is None and not self._stop.is_set():
            try:
                if not await self.bank.knows_all.remote():
                    await self._restore_bank()
                since = time.monotonic()
            except RayActorError as error:
                await self._await_bank(since, error)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _drive(self, index: int, actor: Any) -> None:
        deaths = refusals = 0
        while not self._stop.is_set():
            round = await self._reserve(index)
            if round is None:
                return
            attempt = self._attempts[round]
            images, record = actor.synthesize.options(num_returns=2).remote(round, attempt)
            try:
                made = await record
            except RayActorError as error:
                deaths += 1
                await self._mourn(index, round, deaths, error)
                continue
            if made["refusal"] is not None:
                refusals += 1
                await self._refuse(index, round, refusals, made["refusal"])
                continue
            deaths = refusals = 0
            await self._insert(round, images, made)

    async def _reserve(self, index: int) -> int | None:
        """A round to make, or None when none will be left."""
        since = time.monotonic()
        while not self._stop.is_set():
            try:
                answer = await self.bank.reserve.remote(index)
                if answer == UNKNOWING:
                    await self._restore_bank()
                elif answer is not None:
                    self._working.add(answer)
                    return int(answer)
                elif await self.bank.done.remote():
                    return None
                since = time.monotonic()
            except RayActorError as error:
                await self._await_bank(since, error)
        return None

    async def _insert(self, round: int, images: Any, made: dict[str, Any]) -> None:
        since = time.monotonic()
        while True:
            try:
                if await self.bank.insert.remote(round, [images]):
                    break
                await self._restore_bank()
            except RayActorError as error:
                await self._await_bank(since, error)
        self._working.discard(round)
        self.history.append((round, images))
        self.totals.started = min(self.totals.started, made["started"])
        self.totals.records.append(BatchRecord.of(made, time.time()))

    async def _restore_bank(self) -> None:
        """Tell a bank that knows nothing what it was."""
        async with self._restoring:
            if await self.bank.knows_all.remote():
                return
            if self._told:
                self.totals.bank_restarts += 1
                log.warning("the bank was restarted: telling it of %d rounds", len(self.history))
            history = [(round, [reference]) for round, reference in self.history]
            await self.bank.restore.remote(history, self.updates, sorted(self._working))
            self._told = True

    async def _await_bank(self, since: float, error: RayActorError) -> None:
        if time.monotonic() - since > MOST_SECONDS_AWAY:
            raise RuntimeError(
                f"the sample bank did not come back within {MOST_SECONDS_AWAY:g} s: {error}"
            ) from error
        await asyncio.sleep(0.2)

    async def _mourn(self, index: int, round: int, deaths: int, error: RayActorError) -> None:
        if self._stop.is_set():
            return
        self.totals.restarts += 1
        log.warning("synthesizer %d died in round %d (death %d in a row)", index, round, deaths)
        await self._give_back(index, round)
        if deaths >= MOST_DEATHS_IN_A_ROW:
            raise RuntimeError(
                f"synthesizer {index} died {deaths} times in a row without a batch; the last time: "
                f"{error}"
            ) from error
        await self._await_return(index)

    async def _await_return(self, index: int) -> None:
        """Wait until a synthesizer is back; without limit only while others can do its work."""
        self._away.add(index)
        since = said = time.monotonic()
        while not self._stop.is_set():
            try:
                await self.synthesizers[index].ready.remote()
                break
            except RayActorError as error:
                now = time.monotonic()
                nobody = self.needs_all or len(self._away) == len(self.synthesizers)
                if nobody and now - since > MOST_SECONDS_AWAY:
                    raise RuntimeError(
                        f"synthesizer {index} did not come back within {MOST_SECONDS_AWAY:g} s: "
                        f"{error}"
                    ) from error
                if now - said > SAY_EVERY_SECONDS:
                    said = now
                    log.warning("synthesizer %d is away since %.0f s", index, now - since)
                await asyncio.sleep(0.2)
        self._away.discard(index)

    async def _refuse(self, index: int, round: int, refusals: int, reason: str) -> None:
        self.totals.rejected += 1
        self._attempts[round] += 1
        log.warning("batch of round %d refused: %s", round, reason)
        await self._give_back(index, round)
        if refusals >= MOST_REFUSALS_IN_A_ROW:
            raise FloatingPointError(
                f"{refusals} batches of synthesizer {index} in a row were refused; the last one: "
                f"{reason}"
            )

    async def _give_back(self, index: int, round: int) -> None:
        self._working.discard(round)
        since = time.monotonic()
        while True:
            try:
                await self.bank.release.remote(round)
                break
            except RayActorError as error:
                await self._await_bank(since, error)
        try:
            await self.board.abandon.remote(index)
        except RayActorError as error:
            log.warning("the weight board is away: %s", error)
