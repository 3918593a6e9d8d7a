"""A timed run makes the calls of the reference loop, and goes on exactly where it was saved."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from benchmarks import timed_run
from benchmarks.timed_run import ATTEMPTS, TimedDistiller, TimedRun
from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe

CHANGES = {
    "synthesis.rounds": 4,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 6,
    "synthesis.steps": 2,
    "distillation.updates_per_round": 3,
    "distillation.batch_size": 4,
    "distillation.warmup_updates": 2,
    "platform.precision": "float32",
}
ROUND = 1 + 3
"""Seconds of a round past warm-up: each call of the clock's pair is a second."""


@pytest.fixture(autouse=True)
def _a_step_is_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(timed_run.time, "process_time", lambda: float(next(ticks)))


@pytest.fixture
def experiment() -> Experiment:
    torch.manual_seed(0)
    teacher = build_network("resnet8-half", 10, 1).eval()
    return Experiment.of(load_recipe("digits-fast5", CHANGES), teacher)


def weights(run: TimedRun) -> torch.Tensor:
    parts = [tensor.flatten().double() for tensor in run.distiller.student_state().values()]
    return torch.cat(parts)


def test_the_calls_are_those_of_the_reference_loop(experiment: Experiment) -> None:
    run = TimedRun(experiment)
    run.play(1 + 3 * ROUND)
    recipe = experiment.recipe
    other = TimedRun(experiment)
    reference_loop(
        other.synthesizer, other.buffer, other.distiller, recipe.synthesis, recipe.distillation
    )
    assert (run.rounds, run.distiller.updates, run.buffer.inserted) == (4, 9, 24)
    assert run.ends == [1, 2, 6, 10]
    assert [run.images_at(seconds) for seconds in (0.5, 2, 9, 10)] == [0, 12, 18, 24]
    assert (run.synthesis_seconds, run.distillation_seconds) == (4, 9)
    assert torch.equal(run.buffer.images, other.buffer.images)
    assert torch.equal(weights(run), weights(other))


def test_a_saved_run_goes_on_where_it_was(experiment: Experiment, tmp_path: Path) -> None:
    run, copy = TimedRun(experiment), TimedRun(experiment)
    run.play(7)
    run.save(tmp_path / "run.pt", readings=[{"accuracy": 0.5}])
    assert copy.load(tmp_path / "run.pt") == {"readings": [{"accuracy": 0.5}]}
    copy.play(9, fall=True)  # a copy changes nothing of the run
    copy.load(tmp_path / "run.pt")
    for each in (run, copy):
        each.play(12)
    assert torch.equal(weights(run), weights(copy))
    assert run.figures == copy.figures
    assert (run.rounds, run.seconds) == (copy.rounds, copy.seconds)


def test_the_rate_is_constant_and_falls_at_the_end(experiment: Experiment) -> None:
    run, rates = TimedRun(experiment), []
    section = experiment.recipe.distillation
    original = TimedDistiller.update

    def update(self: TimedDistiller, *args: object) -> object:
        rates.append(self.lr)
        return original(self, *args)  # type: ignore[arg-type]

    run.distiller.update = update.__get__(run.distiller)  # type: ignore[method-assign]
    run.play(1 + ROUND)
    assert rates == pytest.approx([section.lr / 3, section.lr * 2 / 3, section.lr])
    rates.clear()
    run.play(1 + 2 * ROUND, fall=True)
    low, high = section.min_lr, section.lr
    assert rates == pytest.approx([low + (high - low) * share for share in (0.75, 0.5, 0.25)])


def test_a_synthesis_that_would_end_too_late_is_left_out(experiment: Experiment) -> None:
    run = TimedRun(experiment)
    run.play(1 + ROUND)
    run.last_round_seconds = 100
    run.play(1 + 2 * ROUND, fall=True)
    assert (run.rounds, run.distiller.updates) == (2, 3 + 4)


def test_a_batch_that_diverges_is_made_again(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried = TimedRun(experiment), []
    make = run.synthesizer.synthesize

    def synthesize(round: int, attempt: int = 0) -> SyntheticBatch:
        tried.append((round, attempt))
        if round == 2 or attempt < 2:
            raise DivergedError(round, ["bn"])
        return make(round, attempt)

    monkeypatch.setattr(run.synthesizer, "synthesize", synthesize)
    with pytest.raises(DivergedError):
        run.play(100)
    assert tried == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] + [
        (2, attempt) for attempt in range(ATTEMPTS)
    ]
    assert run.distiller.updates == 3
