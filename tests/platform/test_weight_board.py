"""The board without Ray's processes: its promises under any order of calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    board.restore(["parts"], {"student": STUDENT, "version": 0}, None, updates=0)
    return board


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["begin", "publish", "finish", "die"]), st.integers(0, 3))),
)
def test_no_batch_is_staler_than_the_bound_whoever_is_slow(
    bound: int, story: list[tuple[str, int]]
) -> None:
    board, at_work, published = a_board(bound), dict[int, int](), 0
    for event, who in story:
        if event == "publish":
            version = board.publish(STUDENT, 0)
            assert version in (published, published + 1)
            stale = max((version - used for used in at_work.values()), default=0)
            if version == published:
                oldest = min(at_work.values())
                assert published + 1 - oldest > bound, "turned away without need"
            assert stale <= bound
            published = version
        elif event == "begin" and who not in at_work:
            at_work[who] = board.begin(who, 0, -1, 0).student_version
            assert at_work[who] == published, "a batch begins with the newest student"
        elif event == "finish" and who in at_work:
            assert board.finish(who, None, None) == published - at_work.pop(who) <= bound
        elif event == "die" and at_work.pop(who, None) is not None:
            board.abandon(who)


def test_in_lockstep_a_batch_waits_for_the_student_of_the_papers_order() -> None:
    """The newest version that the updates before the round have brought: here every fourth."""
    board = a_board(None, LOCKSTEP)
    versions = [board.begin(0, round, -1, 0).student_version for round in range(3)]
    assert versions == [0, 0, 0]
    board.publish(STUDENT, 4)
    assert board.begin(0, 3, -1, 0) == weight_board.EARLY
    board.publish(STUDENT, 8)
    assert board.begin(0, 3, -1, 0).student_version == 2


def test_after_a_restart_of_the_board_no_batch_waits() -> None:
    """The trainer may have nothing to publish before the batch has come."""
    board = a_board(None, LOCKSTEP)
    board.restore(["parts"], {"student": STUDENT, "version": 5}, None)
    assert board.begin(0, 30, -1, 0).student_version == 5


def test_a_checkpoint_has_the_student_on_show() -> None:
    """Not a newer one that only the trainer has: synthesizers go on with what they saw."""
    board = a_board()
    newer = {"weight": np.ones(1, np.float32)}
    board.publish(newer, 3)
    assert board.save({"updates": 3}) is True
    (state,) = board.collect().checkpoints
    assert (state["student"], state["version"], state["trainer"]) == (newer, 1, {"updates": 3})


def test_the_last_word_is_asked_for_until_the_driver_has_it() -> None:
    board = a_board()
    assert board.complete({"accuracy": 0.5}) is None
    assert board.collect().outcome == {"accuracy": 0.5}
    assert board.complete({"accuracy": 0.5}) is True


def test_a_board_that_was_restarted_answers_nothing_until_it_is_told() -> None:
    board = weight_board.WeightBoard.__ray_metadata__.modified_class(LIMITER, 2, None)
    assert board.parts() is None
    assert board.publish(STUDENT, 1) is None
    assert board.begin(0, 0, -1, 0) is None
    assert board.save({}) is None
    assert not board.collect().knows
