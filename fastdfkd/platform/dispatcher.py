"""The driver's side of synthesis: assigns rounds to synthesizers and inserts batches into the bank.

The driver calls the synthesizers, so it owns their batches: a batch outlives the actor that made
it, and a restarted bank is restored from the driver's history. A round is the unit of retry: when a
synthesizer dies or its batch is refused, the round is released and made again, outside lock-step by
any free synthesizer.

In lock-step every call also takes the synthesizer's state after its last successful call, and
returns the next state. So a restarted process makes the same batch as the one that died. The state
and the images of a call arrive together or not at all.
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
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayActorError

from fastdfkd.platform.accounting import BatchRecord, SynthesisTotals
from fastdfkd.platform.bank_client import WATCH_SECONDS, BankClient
from fastdfkd.platform.history import History
from fastdfkd.platform.places import LESS_IN_STORE
from fastdfkd.platform.sample_bank import Insertion
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY, SAY_EVERY_SECONDS

log = logging.getLogger(__name__)

CALLS_QUEUED = 2
"""Calls that a synthesizer has running or queued, so that it never waits for the driver."""
WORTH_A_CALL_SECONDS = 0.05
"""Seconds of work that a call should contain. Shorter rounds share a call, because each call costs
driver, bank and synthesizer about a millisecond of processor time."""
MOST_ROUNDS_A_CALL = 8
MOST_DEATHS_IN_A_ROW = 10
"""Deaths of one synthesizer without a batch in between that end the run."""
MOST_REFUSALS_IN_A_ROW = 5
"""Refused batches of one synthesizer without an accepted one in between that end the run."""


class Dispatcher:
    """Runs an event loop in a thread while the student trains. Use as a context manager.

    The first error ends it, is kept in `error`, and closes the bank, which ends the trainer.
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
        """Prepare the dispatcher; `__enter__` starts it.

        Args:
            bank: the sample bank actor.
            board: the weight board actor.
            synthesizers: the synthesizer actors, by index.
            history: of the run so far.
            totals: of the run so far.
            states: in lock-step, by index, the state each synthesizer starts from; without an entry
                it starts from its initial state. None outside lock-step.
        """
        self.states: dict[int, list[Any]] | None = None
        """By synthesizer, a list with the reference to its state after its last successful call."""
        if states is not None:
            self.states = {index: [ray.put(state)] for index, state in states.items()}
        self.board, self.synthesizers = board, synthesizers
        self.history, self.totals = history, totals or SynthesisTotals()
        self.bank = BankClient(bank, self.history, self.totals)
        self.error: BaseException | None = None
        self._round_seconds = dict.fromkeys(range(len(synthesizers)), WORTH_A_CALL_SECONDS)
        """By synthesizer, mean seconds of a round in its newest call."""
        self._away: set[int] = set()
        """Synthesizers that died and are not back yet."""
        self._attempts: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._refusals: Counter[int] = Counter()
        self.notes: list[str] = []
        """Deviations from the recipe that synthesizers reported, each once."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def __enter__(self) -> Dispatcher:
        """Start the event loop."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the event loop; after an error kill the synthesizers instead of awaiting batches."""
        self._stop.set()
        if kind is not None:
            for actor in self.synthesizers:
                ray.kill(actor)
        self._thread.join(timeout=30)

    def end(self, error: BaseException) -> None:
        """End the run early: close the bank; the driver raises the first error given."""
        self.error = self.error or error
        self.bank.close(str(self.error))

    def _run(self) -> None:
        try:
            asyncio.run(self._drive_all())
        except BaseException as error:  # the driver raises it
            self.end(error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error)
        while self.error is not None and not self._stop.wait(WATCH_SECONDS):
            self.bank.close(str(self.error))  # again, because a restarted bank is open

    async def _drive_all(self) -> None:
        """Drive all synthesizers, and watch the bank until the run stops."""
        async with asyncio.TaskGroup() as group:
            bank_watch = group.create_task(self.bank.watch())
            for index, actor in enumerate(self.synthesizers):
                for _ in range(CALLS_QUEUED):
                    group.create_task(self._drive(index, actor))
            while self.error is None and not self._stop.is_set():
                await asyncio.sleep(0.05)
            bank_watch.cancel()

    async def _drive(self, index: int, actor: Any) -> None:
        """Call a synthesizer until no round is left; `CALLS_QUEUED` of these run concurrently."""
        rounds = await self._reserve(index)
        while rounds and not self._stop.is_set():
            images, (records_reference, *state) = self._call(index, actor, rounds)
            next_rounds: Sequence[int] = ()
            try:
                records = await records_reference
            except RayActorError as error:
                await self._handle_death(index, rounds, error)
            except (ObjectStoreFullError, OutOfDiskError) as error:
                raise OSError(
                    f"Ray's object store has no memory for the images of synthesizer {index}, and "
                    "the disk to which Ray writes what does not fit is full: make room on it and "
                    f"resume the run; {LESS_IN_STORE}"
                ) from error
            else:
                if self.states is not None:
                    self.states[index] = state
                next_rounds = await self._insert(index, rounds, images, records)
            rounds = next_rounds or await self._reserve(index)

    def _call(
        self, index: int, actor: Any, rounds: Sequence[int]
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        """Start a call; return references to the images, and to the records (and the state)."""
        attempts, method = [(round, self._attempts[round]) for round in rounds], actor.synthesize
        if self.states is not None:
            method = method.options(num_returns=len(attempts) + 2)
            references = method.remote(attempts, self.states.get(index, []))
        elif len(attempts) > 1:
            references = method.options(num_returns=len(attempts) + 1).remote(attempts)
        else:
            references = method.remote(attempts)
        return references[: len(attempts)], references[len(attempts) :]

    async def _reserve(self, index: int) -> Sequence[int]:
        """Wait for the rounds of a synthesizer's next call; empty at the end of the run."""
        while not self._stop.is_set():
            rounds = await self.bank.reserve(index, self._rounds_a_call(index))
            if rounds or await self.bank.done():
                return rounds
        return ()

    def _rounds_a_call(self, index: int) -> int:
        """Rounds for the next call: one, or more if they are short (`WORTH_A_CALL_SECONDS`)."""
        rounds = WORTH_A_CALL_SECONDS / max(self._round_seconds[index], 1e-6)
        return max(min(int(rounds), MOST_ROUNDS_A_CALL), 1)

    async def _insert(
        self, index: int, rounds: Sequence[int], images: Sequence[Any], records: Sequence[Any]
    ) -> Sequence[int]:
        """Insert a call's accepted batches into the bank; return the synthesizer's next rounds.

        Args:
            index: the synthesizer.
            rounds: the rounds of the call.
            images: references to their images.
            records: their records (`SynthesizerActor.synthesize`).
        """
        self._log_notes(records)
        refusals, accepted = [record["refusal"] for record in records], []
        for position, refusal in enumerate(refusals):
            if refusal is None:
                accepted.append(position)
                self._deaths[index] = self._refusals[index] = 0
            else:
                await self._refuse(index, rounds[position], refusal)
        if not accepted:
            return ()
        records = [records[position] for position in accepted]
        seconds = records[-1]["finished"] - records[0]["started"]
        self._round_seconds[index] = seconds / len(records)
        call = Insertion(
            index,
            [rounds[position] for position in accepted],
            [images[position] for position in accepted],
            self._rounds_a_call(index),
        )
        next_rounds = await self.bank.insert(call)
        self.totals.started = min(self.totals.started, records[0]["started"])
        storage_seconds = max(time.time() - records[-1]["finished"], 0.0) / len(records)
        self.totals.records += [BatchRecord.of(record, storage_seconds) for record in records]
        return next_rounds

    def _log_notes(self, records: Sequence[Any]) -> None:
        """Log each different note of the synthesizers once a run."""
        for note in (note for record in records for note in record.get("notes", ())):
            if note not in self.notes:
                log.warning("%s", note)
                self.notes.append(note)

    async def _handle_death(self, index: int, rounds: Sequence[int], error: RayActorError) -> None:
        """Count a synthesizer's death, release the call's rounds, wait for the restart."""
        if self._stop.is_set():
            return
        if index not in self._away:  # else another call of it has counted this death
            self._away.add(index)
            self.totals.restarts += 1
            self._deaths[index] += 1
            deaths = self._deaths[index]
            log.warning(
                "synthesizer %d died in round %d (death %d in a row)", index, rounds[0], deaths
            )
            await self._abandon_batch(index)
            if deaths >= MOST_DEATHS_IN_A_ROW:
                raise RuntimeError(
                    f"synthesizer {index} died {deaths} times in a row without a batch; last "
                    f"error: {error}"
                ) from error
        for round in rounds:
            await self.bank.release(round)
        await self._await_return(index)

    async def _await_return(self, index: int) -> None:
        """Wait until a synthesizer is restarted; no time limit while others can take its rounds."""
        since = last_logged = time.monotonic()
        while not self._stop.is_set():
            try:
                await self.synthesizers[index].ready.remote()
                break
            except RayActorError as error:
                if error.actor_init_failed:  # Ray does not restart such an actor
                    raise RuntimeError(f"synthesizer {index} cannot be built: {error}") from error
                now = time.monotonic()
                blocked = self.states is not None or len(self._away) == len(self.synthesizers)
                if blocked and now - since > MOST_SECONDS_AWAY:
                    raise RuntimeError(
                        f"synthesizer {index} did not restart within {MOST_SECONDS_AWAY:g} s: "
                        f"{error}"
                    ) from error
                if now - last_logged > SAY_EVERY_SECONDS:
                    last_logged = now
                    log.warning("waiting %.0f s for synthesizer %d to restart", now - since, index)
                await asyncio.sleep(0.2)
        self._away.discard(index)

    async def _refuse(self, index: int, round: int, reason: str) -> None:
        """Release a round whose batch the bank should not take; it is made again from new draws."""
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

    async def _abandon_batch(self, index: int) -> None:
        """Tell the board that a synthesizer's batch will not finish."""
        try:
            await self.board.abandon.remote(index)
        except RayActorError as error:
            log.warning("the weight board does not answer: %s", error)
