"""A restarted synthesizer process makes the same batches as the one that died."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import ObjectLostError

from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.synthesizer_actor import SynthesizerActor
from fastdfkd.platform.weight_board import WeightBoard
from fastdfkd.trainers.teacher import Teacher
from fastdfkd.trainers.weights import to_arrays
from tests.platform.conftest import tiny, tiny_experiment
from tests.platform.fake_bank import Remote

pytestmark = pytest.mark.usefixtures("one_thread")


class Handle:
    """The handle of an actor in this process: `remote` returns the value itself."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, method: str) -> Remote:
        return Remote(getattr(self.actor, method))


@pytest.fixture
def board(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A board that asks for a state after every round (`platform.checkpoint_every: 1`)."""
    recipe = tiny(platform__schedule="lockstep", platform__checkpoint_every=1)
    experiment = tiny_experiment(recipe, teacher)
    limiter = RateLimiter.of(recipe)
    board = Handle(WeightBoard.__ray_metadata__.modified_class(limiter, None, 1))  # type: ignore[attr-defined]
    for way in ("get", "put"):
        monkeypatch.setattr(ray, way, lambda value: value)
    monkeypatch.setattr(ray, "get_actor", lambda name: board)
    student = to_arrays(experiment.student.state_dict())
    board.actor.restore([experiment], {"student": student, "version": 0}, None)
    board.actor.student_updates = 10**6  # the student of every round is published
    return board


def started(use_idle: bool = False) -> Any:
    built = SynthesizerActor.__ray_metadata__.modified_class  # type: ignore[attr-defined]
    return built("board", 0, "cpu", 1, False, use_idle)


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list):
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert np.array_equal(one, other)


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("died_in", [0, 1, 2, 5])
def test_a_round_is_made_again_bit_for_bit(died_in: int) -> None:
    """Also if the board already holds the state after it instead of the one before.

    Round 5 is the first with the generator's first layers drawn anew (`reset_after`).
    """
    actor, last_state = started(), list[Any]()
    for round in range(died_in):
        *_, state = actor.synthesize([(round, 0)], last_state)
        last_state = [state]
    images, _, after = actor.synthesize([(died_in, 0)], last_state)
    again, _, after_again = started().synthesize([(died_in, 0)], last_state)
    assert np.array_equal(images, again)
    same(after, after_again)


@pytest.mark.usefixtures("board")
def test_only_a_new_process_loads_the_state() -> None:
    actor = started()
    *_, first = actor.synthesize([(0, 0)], [])
    *_, second = actor.synthesize([(1, 0)], [first])
    images, *_ = actor.synthesize([(2, 0)], [first])  # an old one
    expected, *_ = started().synthesize([(2, 0)], [second])
    assert np.array_equal(images, expected)


@pytest.mark.usefixtures("board")
def test_a_call_with_a_refused_batch_returns_a_state_too(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = started()
    *_, first = actor.synthesize([(0, 0)], [])
    with monkeypatch.context() as patched:
        patched.setattr("fastdfkd.platform.synthesizer_actor.refusal_of", lambda images: "flat")
        _, (record,), refused = actor.synthesize([(1, 0)], [first])
    assert record["refusal"] == "flat"
    images, *_ = actor.synthesize([(1, 1)], [refused])
    again, *_ = started().synthesize([(1, 1)], [refused])
    assert np.array_equal(images, again)


def test_without_a_state_from_the_caller_the_boards_is_used(
    board: Handle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside lock-step, and where the state was lost with a node."""
    actor = started()
    assert len(actor.synthesize([(0, 0)])) == 2, "no state without `last_state`"
    expected, *_ = actor.synthesize([(1, 0)])
    *_, state = started().synthesize([(0, 0)], [])
    board.actor.synthesizers = {0: state}
    images, *_ = started().synthesize([(1, 0)])
    assert np.array_equal(images, expected)

    def get(value: Any) -> Any:
        if value == "lost":
            raise ObjectLostError("0", None, "")
        return value

    board.actor.synthesizers = {0: state}
    fallen_back = started()
    monkeypatch.setattr(ray, "get", get)
    images, *_ = fallen_back.synthesize([(1, 0)], ["lost"])
    assert np.array_equal(images, expected)
    assert "its state was lost with a node" in caplog.text


@pytest.mark.usefixtures("board")
def test_a_wait_becomes_steps_of_the_next_batches() -> None:
    """On a clock of its own, a batch takes 1 s and the wait before it 9 s."""
    times = iter([0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0])
    actor = started(use_idle=True)
    actor._unix = lambda: next(times)
    steps = []
    for round in range(4):
        _, (record,), _ = actor.synthesize([(round, 0)], [])
        steps.append(record["provenance"].steps)
    assert steps[0] == 2
    assert steps == sorted(steps)
    assert steps[-1] >= 10
