"""The weight board without Ray's processes: its invariants under any order of calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.platform import weight_board
from fastdfkd.platform.rate_limiter import RateLimiter

LIMITER = RateLimiter(
    rounds=1000, warmup_rounds=0, updates_per_round=1, tolerance=4, wave=1, publish_every=1
)
LOCKSTEP = RateLimiter(
    rounds=1000, warmup_rounds=2, updates_per_round=10, tolerance=0, wave=1, publish_every=4
)
STUDENT = {"weight": np.zeros(1, np.float32)}


@pytest.fixture(autouse=True)
def values_instead_of_references(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("put", "get"):
        monkeypatch.setattr(weight_board.ray, way, lambda value: value)


def a_board(max_staleness: int | None = 2, limiter: RateLimiter = LIMITER) -> Any:
    board = weight_board.WeightBoard.__ray_metadata__.modified_class(limiter, max_staleness, None)
    board.restore(["parts"], {"student": STUDENT, "version": 0}, None)
    return board


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["begin", "publish", "finish", "die"]), st.integers(0, 3))),
)
def test_no_batch_is_staler_than_the_bound_whoever_is_slow(
    bound: int, events: list[tuple[str, int]]
) -> None:
    board, running, published = a_board(bound), dict[int, int](), 0
    for updates, (event, index) in enumerate(events, 1):
        if event == "publish":
            version = board.publish(STUDENT, updates)
            assert version in (published, published + 1)
            stale = max((version - used for used in running.values()), default=0)
            if version == published:
                oldest = min(running.values())
                assert published + 1 - oldest > bound, "refused without need"
            assert stale <= bound
            published = version
        elif event == "begin" and index not in running:
            running[index] = board.begin(index, 0).student_version
            assert running[index] == published, "a batch begins with the newest student"
        elif event == "finish" and index in running:
            assert board.finish(index, None, None) == published - running.pop(index) <= bound
        elif event == "die" and running.pop(index, None) is not None:
            board.abandon(index)


def test_in_lockstep_a_batch_waits_for_the_student_of_the_papers_order() -> None:
    """The last version published by the updates before the round: here every fourth."""
    board = a_board(None, LOCKSTEP)
    versions = [board.begin(0, round).student_version for round in range(3)]
    assert versions == [0, 0, 0]
    board.publish(STUDENT, 4)
    assert board.begin(0, 3) == weight_board.NOT_READY
    board.publish(STUDENT, 8)
    assert board.begin(0, 3).student_version == 2


@pytest.mark.parametrize("limiter", [LIMITER, LOCKSTEP])
def test_the_end_of_a_batch_is_reported_only_if_the_board_needs_it(limiter: RateLimiter) -> None:
    """In lock-step with a generator per synthesizer, only to bring a state."""
    alone = a_board(None, limiter)
    assert alone.begin(0, 0).report_finish is not limiter.lockstep
    alone.checkpoint_every = 2
    assert alone.begin(0, 1).report_finish is alone.begin(0, 1).bring_state is True
    together = a_board(None, limiter)
    together.meta = Mock(version=0)
    assert together.begin(0, 0).report_finish is True


def test_the_meta_update_of_a_repeated_round_is_applied_once() -> None:
    """Its synthesizer died after reporting it and before the driver had its images."""
    board = a_board()
    board.meta = Mock(version=0)
    updates = [MetaUpdate(round, []) for round in range(4)]
    for update in (*updates[:2], updates[0], *updates[2:], updates[3]):
        board.finish(0, update, None)
    learned = [each for call in board.meta.learn.call_args_list for each in call.args[0]]
    assert learned == updates
    assert board.wave_updates == {}


class Learning:
    """A shared generator that counts what it learns from."""

    def __init__(self) -> None:
        self.version, self.rounds = 0, list[int]()

    def begin(self, round: int) -> None:
        self.begun = round

    def learn(self, updates: list[MetaUpdate]) -> None:
        self.version += 1
        self.rounds += sorted(update.round for update in updates)

    def shared_state(self) -> Any:
        return self.version, tuple(self.rounds)

    def state_dict(self) -> Any:
        return {"rounds": list(self.rounds)}


def test_in_lockstep_a_round_is_made_again_with_the_generator_of_its_wave() -> None:
    """Also if the whole wave was reported to the board before one of its synthesizers died."""
    board = a_board(None, replace(LOCKSTEP, wave=2, warmup_rounds=100))
    board.meta = Learning()
    for wave in (0, 2, 4):
        before = [board.begin(index, wave + index).generator for index in (0, 1)]
        assert before == [[(wave // 2, tuple(range(wave)))]] * 2
        for index in (1, 0):
            board.finish(index, MetaUpdate(wave + index, []), None)
        board.abandon(1)
        board.parts(1)  # its new process
        assert board.begin(1, wave + 1).generator == before[1]
        board.finish(1, MetaUpdate(wave + 1, []), None)
    assert board.meta.rounds == [0, 1, 2, 3]


def test_a_checkpoint_has_the_generator_that_the_next_wave_begins_with() -> None:
    board = a_board(None, replace(LOCKSTEP, wave=2, warmup_rounds=100))
    board.meta = Learning()
    for index in (0, 1):
        board.begin(index, index)
        board.finish(index, MetaUpdate(index, []), "state")
    board.save({"distiller": {"updates": 0}})
    (state,) = board.collect().checkpoints
    assert state["meta"] == {"rounds": [0, 1]}
    assert board.begin(0, 2).generator == [(1, (0, 1))]


def test_a_wave_that_lost_meta_updates_with_a_board_is_not_learned() -> None:
    board = a_board(None, replace(LOCKSTEP, wave=2, warmup_rounds=100))
    board.meta = Learning()
    board.finish(0, MetaUpdate(2, []), None)  # round 3 was reported to the board that died
    for index in (0, 1):
        board.begin(index, 4 + index)
        board.finish(index, MetaUpdate(4 + index, []), None)
    board.begin(0, 6)
    assert board.meta.rounds == [4, 5]


def a_restarted_board(updates: int, version: int) -> Any:
    """In lock-step, restored from a checkpoint after `updates` updates."""
    board = weight_board.WeightBoard.__ray_metadata__.modified_class(LOCKSTEP, None, 10)
    trainer = {"distiller": {"updates": updates}}
    board.restore(["parts"], {"student": STUDENT, "version": version, "trainer": trainer}, None)
    return board


def test_a_restarted_board_waits_until_the_trainer_publishes_again() -> None:
    board = a_restarted_board(80, version=20)
    assert board.begin(0, 10).student_version == 20
    assert board.begin(0, 12) == weight_board.NOT_READY
    assert board.publish(STUDENT, 100) == board.publish(STUDENT, 100) == 21
    assert board.begin(0, 12).student_version == 21


def test_versions_sent_by_a_board_that_died_do_not_count() -> None:
    newer = {"weight": np.ones(1, np.float32)}
    for board in a_board(None), a_restarted_board(0, version=0):
        assert board.begin(0, 0).student == [STUDENT]
        assert board.begin(0, 1).student is None, "the synthesizer has this version"
        board.publish(newer, 10)
        assert board.begin(0, 3).student == [newer]
        board.parts(0)  # the synthesizer was restarted
        assert board.begin(0, 3).student == [newer]


def test_a_checkpoint_without_the_synthesizers_newest_states_is_skipped() -> None:
    board = a_restarted_board(80, version=20)
    trainer = {"distiller": {"updates": 180}}
    assert board.save(trainer) is True
    assert board.collect().checkpoints == []
    board.finish(0, None, "state")
    assert board.save(trainer) is True
    (state,) = board.collect().checkpoints
    assert (state["synthesizers"], state["trainer"]) == ({0: "state"}, trainer)


def test_a_checkpoint_has_the_published_student() -> None:
    """Not a newer one that only the trainer has: synthesizers continue with the published one."""
    board = a_board()
    newer = {"weight": np.ones(1, np.float32)}
    board.publish(newer, 3)
    assert board.save({"updates": 3}) is True
    (state,) = board.collect().checkpoints
    assert (state["student"], state["version"], state["trainer"]) == (newer, 1, {"updates": 3})


def test_notes_are_collected_once() -> None:
    board = a_board()
    board.note(["one", "two"])
    assert board.collect().notes == ["one", "two"]
    assert board.collect().notes == []


def test_complete_answers_once_the_driver_has_the_outcome() -> None:
    board = a_board()
    assert board.complete({"accuracy": 0.5}) is None
    assert board.collect().outcome == {"accuracy": 0.5}
    assert board.complete({"accuracy": 0.5}) is True


def test_a_restarted_board_answers_none_until_it_is_restored() -> None:
    board = weight_board.WeightBoard.__ray_metadata__.modified_class(LIMITER, 2, None)
    assert board.parts() is None
    assert board.publish(STUDENT, 1) is None
    assert board.begin(0, 0) is None
    assert board.finish(0, None, None) is None
    assert board.save({}) is None
    assert not board.collect().restored
