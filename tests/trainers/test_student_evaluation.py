"""Evaluations that are divided among workers, and those that fail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from fastdfkd.core.evaluation import Evaluated, Predictor, Watch
from fastdfkd.core.random_streams import seeded
from fastdfkd.data import Judge, RealImages
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe
from fastdfkd.trainers.student_evaluation import TRIES, StudentEvaluation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    with seeded(3, "teacher"):
        teacher = build_network("resnet8-half", 10, 1).eval().requires_grad_(False)
    return Experiment.of(load_recipe("digits-fast5", {"synthesis.bn": 0.0}), teacher)


@dataclass(frozen=True)
class Failing(RealImages):
    """Fails a number of times, from the second evaluation on: the first is the teacher's."""

    failures: tuple[int, ...] = ()

    def answers_of(self, predictor: Predictor, watch: Watch | None = None) -> Evaluated:
        calls: Any = self.__dict__.setdefault("calls", [])
        calls.append(1)
        if len(calls) in self.failures:
            raise OSError("the disk is away")
        return super().answers_of(predictor, watch)


def failing(experiment: Experiment, *failures: int) -> Experiment:
    judge: Any = experiment.judge
    return replace(experiment, judge=Failing(judge.test, judge.kind, failures=failures))


def test_an_evaluation_that_fails_is_tried_again(experiment: Experiment) -> None:
    notes: list[str] = []
    expected = StudentEvaluation(experiment, CPU).of_student(experiment.student, 7)
    evaluation = StudentEvaluation(failing(experiment, 2, 3), CPU, note=notes.append)
    found = evaluation.of_student(experiment.student, 7)
    assert expected is not None
    assert found is not None
    assert torch.equal(found.classes, expected.classes)
    assert notes == []


def test_one_that_always_fails_is_left_out_and_the_next_is_made(experiment: Experiment) -> None:
    notes: list[str] = []
    tries = range(2, 2 + TRIES)
    evaluation = StudentEvaluation(failing(experiment, *tries), CPU, note=notes.append)
    assert evaluation.of_student(experiment.student, 7) is None
    assert notes == ["the evaluation after update 7 was left out: the disk is away"]
    assert evaluation.of_student(experiment.student, 9) is not None


def test_the_teachers_evaluation_must_succeed(experiment: Experiment) -> None:
    with pytest.raises(OSError, match="the disk is away"):
        StudentEvaluation(failing(experiment, 1), CPU)


def exchanged(monkeypatch: pytest.MonkeyPatch, others: list[Evaluated | None]) -> list[int]:
    """The first of two workers gets the parts of the other from a list; returns broadcasts."""
    sources: list[int] = []

    def exchange(self: StudentEvaluation, mine: Evaluated | None) -> list[Evaluated | None]:
        return [mine, others.pop(0)]

    monkeypatch.setattr(StudentEvaluation, "_exchange", exchange)
    monkeypatch.setattr(
        torch.distributed, "broadcast", lambda _, source: sources.append(source), raising=False
    )
    return sources


def test_two_workers_give_the_evaluation_of_one(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StudentEvaluation(experiment, CPU)
    expected = whole.of_student(experiment.student, 7)
    second: Judge = experiment.judge.share(1, 2)
    reads = experiment.normalisation("cpu")
    others: list[Evaluated | None] = [
        second.answers(network, reads, "cpu")
        for network in (experiment.teacher, experiment.student)
    ]
    sources = exchanged(monkeypatch, others)
    evaluation = StudentEvaluation(experiment, CPU, rank=0, world=2)
    found = evaluation.of_student(experiment.student, 7)
    assert found is not None
    assert expected is not None
    assert torch.equal(evaluation.taught.classes, whole.taught.classes)
    assert torch.equal(found.classes, expected.classes)
    judge = experiment.judge
    assert judge.figures(found, evaluation.taught) == judge.figures(expected, whole.taught)
    assert sources
    assert set(sources) == {0}, "the norms' statistics of the first worker"


def test_a_share_that_another_worker_gave_up_leaves_the_evaluation_out(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: Judge = experiment.judge.share(1, 2)
    taught = second.answers(experiment.teacher, experiment.normalisation("cpu"), "cpu")
    exchanged(monkeypatch, [taught, None])
    notes: list[str] = []
    evaluation = StudentEvaluation(experiment, CPU, rank=0, world=2, note=notes.append)
    assert evaluation.of_student(experiment.student, 7) is None
    assert notes == [], "the other worker says why"


def test_an_exchange_that_fails_is_not_repeated(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other workers make it once."""
    evaluation, exchanges = StudentEvaluation(experiment, CPU), list[int]()

    def exchange(self: StudentEvaluation, mine: Evaluated | None) -> list[Evaluated | None]:
        exchanges.append(1)
        raise RuntimeError("connection closed by peer")

    monkeypatch.setattr(StudentEvaluation, "_exchange", exchange)
    with pytest.raises(RuntimeError, match="closed by peer"):
        evaluation.of_student(experiment.student, 7)
    assert exchanges == [1]


def test_evaluations_are_spread_over_the_updates(experiment: Experiment) -> None:
    platform = experiment.recipe.platform.model_copy(update={"evaluations": 4})
    recipe = experiment.recipe.model_copy(update={"platform": platform})
    total = recipe.updates
    assert total > 8
    spread = replace(experiment, recipe=recipe)
    expected = [-(-total * part // 4) for part in (1, 2, 3, 4)]
    first = StudentEvaluation(spread, CPU)
    assert [n for n in range(1, total + 1) if first.due(n)] == expected
    resumed = StudentEvaluation(spread, CPU)
    resumed.reached = 2  # as the state at that moment has it
    assert [n for n in range(expected[1] + 1, total + 1) if resumed.due(n)] == expected[2:]


def test_confusions_are_those_after_the_last_update(experiment: Experiment) -> None:
    evaluation, last = StudentEvaluation(experiment, CPU), experiment.recipe.updates
    answers = evaluation.of_student(experiment.student, last)
    assert answers is not None
    before = evaluation.figures(answers, last - 1)
    assert evaluation.confusions == {}
    assert evaluation.figures(answers, last) == before
    assert int(evaluation.confusions["labels"].sum()) == len(experiment.judge)
