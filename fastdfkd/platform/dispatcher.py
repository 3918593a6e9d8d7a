"""The driver's side of synthesis: gives rounds to synthesizers and their batches to the bank.

The driver calls the synthesizers, so it owns their batches: a batch outlives the actor that made
it, and a bank that was restarted is told of all of them again. A round is the unit of retry: when
a synthesizer dies, or its batch is refused, the round goes back and is made by whoever is free.

In lock-step a call brings the synthesizer's state too, which the next call takes along: a process
that was restarted makes the round again as the one before it did. States and images arrive together
or not at all.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError

from fastdfkd.platform.accounting import BatchRecord, SynthesisTotals
from fastdfkd.platform.bank_client import WATCH_SECONDS, BankClient
from fastdfkd.platform.history import History
from fastdfkd.platform.sample_bank import Insertion
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY, SAY_EVERY_SECONDS

log = logging.getLogger(__name__)

CALLS_QUEUED = 2
"""Calls that a synthesizer has before it, so that it never waits for the driver's answer."""
WORTH_A_CALL_SECONDS = 0.05
"""Work that a call should bring: shorter rounds are made several a call, for a call costs each of
driver, bank and synthesizer about a millisecond of processor, whatever it brings."""
MOST_ROUNDS_A_CALL = 8
MOST_DEATHS_IN_A_ROW = 10
"""Deaths of one synthesizer without a batch between them after which the run gives up."""
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
        history: History,
        totals: SynthesisTotals | None = None,
        *,
        states: Mapping[int, Any] | None = None,
    ):
        """Say what to drive; nothing is asked for yet.

        Args:
            bank: the sample bank.
            board: the weight board.
            synthesizers: their actors, by index.
            history: of the run so far.
            totals: likewise.
            states: in lock-step, where the rounds of one synthesizer cannot be made by another: by
                index, those that synthesizers go on from; none of one that begins anew. None: not
                in lock-step.
        """
        self.states: dict[int, list[Any]] | None = None
        """List of the reference to each synthesizer's state after the newest call heard of."""
        if states is not None:
            self.states = {index: [ray.put(state)] for index, state in states.items()}
        self.board, self.synthesizers = board, synthesizers
        self.history, self.totals = history, totals or SynthesisTotals()
        self.bank = BankClient(bank, self.history, self.totals)
        self.error: BaseException | None = None
        self._pace = dict.fromkeys(range(len(synthesizers)), WORTH_A_CALL_SECONDS)
        """Seconds of a round in a synthesizer's newest call."""
        self._away: set[int] = set()
        self._attempts: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._refusals: Counter[int] = Counter()
        self.notes: list[str] = []
        """What synthesizers said they did otherwise than the recipe says, each once."""
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
        self.bank.close(str(self.error))

    def _run(self) -> None:
        try:
            asyncio.run(self._drive_all())
        except BaseException as error:  # handed to the driver, which raises it
            self.end(error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error)
        while self.error is not None and not self._stop.wait(WATCH_SECONDS):
            self.bank.close(str(self.error))  # a bank that was restarted knows nothing of it

    async def _drive_all(self) -> None:
        """Drive everybody; the bank is watched until the trainer has made its last update."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self.bank.watch())
            for index, actor in enumerate(self.synthesizers):
                for _ in range(CALLS_QUEUED):
                    group.create_task(self._drive(index, actor))
            while self.error is None and not self._stop.is_set():
                await asyncio.sleep(0.05)
            watching.cancel()

    async def _drive(self, index: int, actor: Any) -> None:
        """Have a synthesizer make rounds, call after call; `CALLS_QUEUED` of these side by side."""
        rounds = await self._reserve(index)
        while rounds and not self._stop.is_set():
            images, (records, *state) = self._call(index, actor, rounds)
            following: Sequence[int] = ()
            try:
                made = await records
            except RayActorError as error:
                await self._mourn(index, rounds, error)
            else:
                if self.states is not None:
                    self.states[index] = state
                following = await self._take_in(index, rounds, images, made)
            rounds = following or await self._reserve(index)

    def _call(
        self, index: int, actor: Any, rounds: Sequence[int]
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        """Ask for rounds: references to their images, and to their records and maybe a state."""
        asked, method = [(round, self._attempts[round]) for round in rounds], actor.synthesize
        if self.states is not None:
            method = method.options(num_returns=len(asked) + 2)
            references = method.remote(asked, self.states.get(index, []))
        elif len(asked) > 1:
            references = method.options(num_returns=len(asked) + 1).remote(asked)
        else:
            references = method.remote(asked)
        return references[: len(asked)], references[len(asked) :]

    async def _reserve(self, index: int) -> Sequence[int]:
        """Rounds for a synthesizer's next call; none when none will be left."""
        while not self._stop.is_set():
            rounds = await self.bank.reserve(index, self._rounds_a_call(index))
            if rounds or await self.bank.done():
                return rounds
        return ()

    def _rounds_a_call(self, index: int) -> int:
        """One, unless rounds are so short that calls would cost as much as they."""
        enough = WORTH_A_CALL_SECONDS / max(self._pace[index], 1e-6)
        return max(min(int(enough), MOST_ROUNDS_A_CALL), 1)

    async def _take_in(
        self, index: int, rounds: Sequence[int], images: Sequence[Any], made: Sequence[Any]
    ) -> Sequence[int]:
        """Give a call's batches to the bank, which may have the synthesizer's next rounds at once.

        Args:
            index: of the synthesizer.
            rounds: that it was asked for.
            images: references to theirs.
            made: their records (`SynthesizerActor.synthesize`).
        """
        self._say(made)
        refusals, good = [record["refusal"] for record in made], []
        for place, refusal in enumerate(refusals):
            if refusal is None:
                good.append(place)
                self._deaths[index] = self._refusals[index] = 0
            else:
                await self._refuse(index, rounds[place], refusal)
        if not good:
            return ()
        records = [made[place] for place in good]
        self._pace[index] = (records[-1]["finished"] - records[0]["started"]) / len(records)
        call = Insertion(
            index,
            [rounds[place] for place in good],
            [images[place] for place in good],
            self._rounds_a_call(index),
        )
        following = await self.bank.insert(call)
        self.totals.started = min(self.totals.started, records[0]["started"])
        share = max(time.time() - records[-1]["finished"], 0.0) / len(records)
        self.totals.records += [BatchRecord.of(record, share) for record in records]
        return following

    def _say(self, made: Sequence[Any]) -> None:
        """Each note of a synthesizer, once a run."""
        for note in dict.fromkeys(record.get("note") for record in made):
            if note and note not in self.notes:
                log.warning("%s", note)
                self.notes.append(note)

    async def _mourn(self, index: int, rounds: Sequence[int], error: RayActorError) -> None:
        if self._stop.is_set():
            return
        if index not in self._away:  # else another of its calls has told of this death
            self._away.add(index)
            self.totals.restarts += 1
            self._deaths[index] += 1
            deaths = self._deaths[index]
            log.warning(
                "synthesizer %d died in round %d (death %d in a row)", index, rounds[0], deaths
            )
            await self._abandon(index)
            if deaths >= MOST_DEATHS_IN_A_ROW:
                raise RuntimeError(
                    f"synthesizer {index} died {deaths} times in a row without a batch; the last "
                    f"time: {error}"
                ) from error
        for round in rounds:
            await self.bank.release(round)
        await self._await_return(index)

    async def _await_return(self, index: int) -> None:
        """Wait until a synthesizer is back; without limit only while others can do its work."""
        since = said = time.monotonic()
        while not self._stop.is_set():
            try:
                await self.synthesizers[index].ready.remote()
                break
            except RayActorError as error:
                if error.actor_init_failed:  # which Ray does not try again
                    raise RuntimeError(f"synthesizer {index} cannot be built: {error}") from error
                now = time.monotonic()
                nobody = self.states is not None or len(self._away) == len(self.synthesizers)
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

    async def _refuse(self, index: int, round: int, reason: str) -> None:
        self.totals.rejected += 1
        self._attempts[round] += 1
        self._refusals[index] += 1
        log.warning("batch of round %d refused: %s", round, reason)
        await self.bank.release(round)
        if self._refusals[index] >= MOST_REFUSALS_IN_A_ROW:
            raise FloatingPointError(
                f"{self._refusals[index]} batches of synthesizer {index} in a row were refused; "
                f"the last one: {reason}"
            )

    async def _abandon(self, index: int) -> None:
        try:
            await self.board.abandon.remote(index)
        except RayActorError as error:
            log.warning("the weight board is away: %s", error)
