"""What the dispatcher asks of synthesizers, played by coroutines with a clock of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from ray.exceptions import RayActorError

from fastdfkd.core.batch import Provenance
from fastdfkd.platform.dispatcher import MOST_ROUNDS_A_CALL, WORTH_A_CALL_SECONDS, Dispatcher
from fastdfkd.platform.history import History
from tests.platform.fake_bank import LIMITER, Bank, Remote


class Synthesizer:
    """Rounds of `seconds` each; dies in the calls `dies_in`, refuses round `refuses` once."""

    def __init__(
        self, seconds: float, *, dies_in: Sequence[int] = (), refuses: int | None = None
    ) -> None:
        self.seconds, self.dies_in, self.refuses = seconds, dies_in, refuses
        self.calls: list[list[tuple[int, int]]] = []
        self.given: list[Any] = []
        """What each call brought of the state, which is the number of calls that did not die."""
        self.returns = 2
        self.ready = Remote(self._ready)

    @property
    def synthesize(self) -> Synthesizer:
        self.returns = 2
        return self

    def options(self, num_returns: int) -> Synthesizer:
        self.returns = num_returns
        return self

    def remote(self, rounds: Sequence[tuple[int, int]], left: Any = None) -> list[Any]:
        assert self.returns == len(rounds) + 1 + (left is not None)
        self.calls.append(list(rounds))
        self.given.append(left)
        images = [f"images {round}" for round, _ in rounds]
        states = [] if left is None else [(left[0] if left else 0) + 1]
        return [*images, self._records(len(self.calls), rounds), *states]

    async def _ready(self) -> bool:
        return True

    async def _records(self, call: int, rounds: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        if call in self.dies_in:
            raise RayActorError
        return [self._record(place, *each) for place, each in enumerate(rounds)]

    def finished(self, rounds: int) -> float:
        """Unix time at which a call has made so many of its rounds."""
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
    """All rounds of the fake bank, by one synthesizer."""
    bank = Bank()
    dispatcher = Dispatcher(bank, Board(), [synthesizer], History(LIMITER.rounds), states=states)
    asyncio.run(dispatcher._drive(0, synthesizer))
    assert sorted(bank.index.rounds) == list(range(LIMITER.rounds)), "each once"
    assert len(dispatcher.totals.records) == LIMITER.rounds
    assert dispatcher.history.working == set()
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
    assert sizes[0] == 1, "nothing is known of the first round"
    assert set(sizes[1:-1]) == {rounds_a_call}
    way = time.time() - synthesizer.finished(rounds_a_call)
    second = sum(record.storage_seconds for record in records[1 : 1 + rounds_a_call])
    assert second == pytest.approx(way, rel=1e-6), "shared out, not counted for each"


def test_all_rounds_of_a_call_are_made_again_when_the_synthesizer_dies_in_it() -> None:
    synthesizer = Synthesizer(WORTH_A_CALL_SECONDS / 4, dies_in=[3])
    dispatcher = drive(synthesizer)
    lost = [round for round, _ in synthesizer.calls[2]]
    assert len(lost) == 4
    assert [round for round, _ in synthesizer.calls[3]] == lost
    assert dispatcher.totals.restarts == 1


def test_only_the_refused_round_of_a_call_is_made_again() -> None:
    synthesizer = Synthesizer(WORTH_A_CALL_SECONDS / 4, refuses=6)
    dispatcher = drive(synthesizer)
    asked = [each for call in synthesizer.calls for each in call]
    assert [attempt for round, attempt in asked if round == 6] == [0, 1]
    assert len(asked) == LIMITER.rounds + 1
    assert dispatcher.totals.rejected == 1


def test_in_lockstep_a_call_is_given_the_state_after_the_last_one_that_was_heard_of() -> None:
    """Not what a process that died had come to; a refused batch has moved it too."""
    synthesizer = Synthesizer(1.0, dies_in=[1, 4, 5, 9], refuses=6)
    drive(synthesizer, states={})
    assert len(synthesizer.calls) == LIMITER.rounds + 4 + 1
    heard = 0
    for call, given in enumerate(synthesizer.given, 1):
        assert given == ([heard] if heard else []), call
        heard += call not in synthesizer.dies_in


def test_in_lockstep_a_resumed_run_begins_with_the_states_of_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastdfkd.platform.dispatcher.ray.put", lambda value: value)
    synthesizer = Synthesizer(1.0, dies_in=[1])
    drive(synthesizer, states={0: 70})
    assert synthesizer.given[:4] == [[70], [70], [71], [72]]


def test_nobody_keeps_states_where_runs_are_not_exact() -> None:
    synthesizer = Synthesizer(1.0)
    drive(synthesizer)
    assert set(synthesizer.given) == {None}
