"""The dispatcher's calls to synthesizers, with coroutines and a simulated clock as synthesizers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from ray.exceptions import OutOfDiskError, RayActorError

from fastdfkd.core.batch import Provenance
from fastdfkd.platform.dispatcher import MOST_ROUNDS_A_CALL, WORTH_A_CALL_SECONDS, Dispatcher
from fastdfkd.platform.history import History
from tests.platform.fake_bank import LIMITER, Bank, Remote


class Synthesizer:
    """Rounds of `seconds` each; the calls `dies_in` raise `error`; refuses round `refuses` once."""

    def __init__(
        self,
        seconds: float,
        *,
        dies_in: Sequence[int] = (),
        refuses: int | None = None,
        error: type[Exception] = RayActorError,
    ) -> None:
        self.seconds, self.dies_in, self.refuses, self.error = seconds, dies_in, refuses, error
        self.calls: list[list[tuple[int, int]]] = []
        self.states: list[Any] = []
        """The state passed to each call; a call returns it plus one."""
        self.returns = 2
        self.ready = Remote(self._ready)

    @property
    def synthesize(self) -> Synthesizer:
        self.returns = 2
        return self

    def options(self, num_returns: int) -> Synthesizer:
        self.returns = num_returns
        return self

    def remote(self, rounds: Sequence[tuple[int, int]], last_state: Any = None) -> list[Any]:
        assert self.returns == len(rounds) + 1 + (last_state is not None)
        self.calls.append(list(rounds))
        self.states.append(last_state)
        images = [f"images {round}" for round, _ in rounds]
        states = [] if last_state is None else [(last_state[0] if last_state else 0) + 1]
        return [*images, self._records(len(self.calls), rounds), *states]

    async def _ready(self) -> bool:
        return True

    async def _records(self, call: int, rounds: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        if call in self.dies_in:
            raise self.error
        return [self._record(place, *each) for place, each in enumerate(rounds)]

    def finished(self, rounds: int) -> float:
        """Unix time at which a call has made `rounds` of its rounds."""
        return 100 + rounds * self.seconds

    def _record(self, place: int, round: int, attempt: int) -> dict[str, Any]:
        if round == self.refuses and attempt == 0:
            return {"refusal": "it is flat"}
        return {
            "refusal": None,
            "provenance": Provenance(round=round),
            "images": 4,
            "staleness": 0,
            "started": self.finished(place),
            "finished": self.finished(place + 1),
            "idle": 0.0,
            "memory": 0,
        }


class Board:
    def __init__(self) -> None:
        self.abandon = Remote(self._abandon)

    async def _abandon(self, synthesizer: int) -> None:
        assert synthesizer == 0


def drive(synthesizer: Synthesizer, states: dict[int, Any] | None = None) -> Dispatcher:
    """Have one synthesizer make all rounds of the fake bank."""
    bank = Bank()
    dispatcher = Dispatcher(bank, Board(), [synthesizer], History(LIMITER.rounds), states=states)
    asyncio.run(dispatcher._drive(0, synthesizer))
    assert sorted(bank.index.rounds) == list(range(LIMITER.rounds)), "each once"
    assert len(dispatcher.totals.records) == LIMITER.rounds
    assert dispatcher.history.in_progress == set()
    return dispatcher


@pytest.mark.parametrize(
    ("seconds", "rounds_a_call"),
    [
        (10 * WORTH_A_CALL_SECONDS, 1),
        (WORTH_A_CALL_SECONDS / 3.5, 3),
        (WORTH_A_CALL_SECONDS / 1000, MOST_ROUNDS_A_CALL),
    ],
)
def test_short_rounds_are_made_several_a_call(seconds: float, rounds_a_call: int) -> None:
    synthesizer = Synthesizer(seconds)
    records = drive(synthesizer).totals.records
    sizes = [len(call) for call in synthesizer.calls]
    assert sizes[0] == 1, "the duration of a round is not known yet"
    assert set(sizes[1:-1]) == {rounds_a_call}
    storage_seconds = time.time() - synthesizer.finished(rounds_a_call)
    second_call = sum(record.storage_seconds for record in records[1 : 1 + rounds_a_call])
    assert second_call == pytest.approx(storage_seconds, rel=1e-6), "divided among the rounds"


def test_all_rounds_of_a_call_are_made_again_when_the_synthesizer_dies_in_it() -> None:
    synthesizer = Synthesizer(WORTH_A_CALL_SECONDS / 4, dies_in=[3])
    dispatcher = drive(synthesizer)
    lost = [round for round, _ in synthesizer.calls[2]]
    assert len(lost) == 4
    assert [round for round, _ in synthesizer.calls[3]] == lost
    assert dispatcher.totals.restarts == 1


def test_a_store_and_a_disk_that_are_full_end_the_run_with_what_to_do() -> None:
    synthesizer = Synthesizer(WORTH_A_CALL_SECONDS, dies_in=[2], error=OutOfDiskError)
    with pytest.raises(OSError, match=r"synthesizer 0, and the disk .* platform\.checkpoint_every"):
        drive(synthesizer)


def test_only_the_refused_round_of_a_call_is_made_again() -> None:
    synthesizer = Synthesizer(WORTH_A_CALL_SECONDS / 4, refuses=6)
    dispatcher = drive(synthesizer)
    attempts = [each for call in synthesizer.calls for each in call]
    assert [attempt for round, attempt in attempts if round == 6] == [0, 1]
    assert len(attempts) == LIMITER.rounds + 1
    assert dispatcher.totals.rejected == 1


def test_in_lockstep_a_call_gets_the_state_after_the_last_successful_call() -> None:
    """Not the state of a process that died; a call with a refused batch counts as successful."""
    synthesizer = Synthesizer(1.0, dies_in=[1, 4, 5, 9], refuses=6)
    drive(synthesizer, states={})
    assert len(synthesizer.calls) == LIMITER.rounds + 4 + 1
    successful = 0
    for call, state in enumerate(synthesizer.states, 1):
        assert state == ([successful] if successful else []), call
        successful += call not in synthesizer.dies_in


def test_in_lockstep_a_resumed_run_begins_with_the_states_of_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastdfkd.platform.dispatcher.ray.put", lambda value: value)
    synthesizer = Synthesizer(1.0, dies_in=[1])
    drive(synthesizer, states={0: 70})
    assert synthesizer.states[:4] == [[70], [70], [71], [72]]


def test_outside_lockstep_no_states_are_exchanged() -> None:
    synthesizer = Synthesizer(1.0)
    drive(synthesizer)
    assert set(synthesizer.states) == {None}
