"""The average of a generator, and generators in turn, beside the method that they change."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.trial_synthesizers import (
    AimedAdversary,
    AveragedGenerator,
    FourInTurn,
    SynthesizerInTurn,
    TwoInTurn,
    TwoLasting,
)
from fastdfkd.core.batch import to_uint8
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe

STEPS = 3
CHANGES = {
    "synthesis.meta": "sequential",
    "synthesis.reset_after": None,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 4,
    "synthesis.steps": STEPS,
    "synthesis.generator_width": 8,
    "platform.precision": "float32",
}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    torch.manual_seed(0)
    teacher = build_network("resnet8-half", 10, 1).eval()
    return Experiment.of(load_recipe("digits-fast5", CHANGES), teacher)


def built(kind: type[FastSynthesizer], experiment: Experiment) -> Any:
    return kind(experiment.synthesis, experiment.task("cpu"))


def first_layer(synthesizer: Any) -> Tensor:
    weights: Tensor = synthesizer.generator.project.weight.detach().clone()
    return weights


def watch_steps(synthesizer: Any) -> list[Tensor]:
    """The first weights of the copy after each step from now on."""
    seen: list[Tensor] = []
    step = synthesizer.copies.step

    def watched(loss: Tensor) -> None:
        step(loss)
        seen.append(synthesizer.copies.fast[0].detach().clone())

    synthesizer.copies.step = watched
    return seen


def test_the_average_follows_every_step(experiment: Experiment) -> None:
    synthesizer = built(AveragedGenerator, experiment)
    expected, seen = first_layer(synthesizer), watch_steps(synthesizer)
    for round in range(2):
        synthesizer.synthesize(round)
    assert len(seen) == 2 * STEPS
    for step, weights in enumerate(seen):
        decay = (1 + step) / (10 + step)  # less than 0.9 for 80 steps
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(synthesizer.average[0], expected)
    synthesizer.averaged = 1000
    before = synthesizer.average[0].clone()
    synthesizer.synthesize(2)
    for weights in seen[2 * STEPS :]:
        before = 0.9 * before + 0.1 * weights
    torch.testing.assert_close(synthesizer.average[0], before)


def test_images_are_those_of_the_average_and_the_generator_is_the_methods(
    experiment: Experiment,
) -> None:
    synthesizer, plain = built(AveragedGenerator, experiment), built(FastSynthesizer, experiment)
    for round in range(2):
        mine, theirs = synthesizer.synthesize(round), plain.synthesize(round)
    assert torch.equal(first_layer(synthesizer), first_layer(plain))
    assert mine.provenance.losses == theirs.provenance.losses
    assert not torch.equal(mine.images, theirs.images)
    with torch.no_grad():
        for parameter, average in zip(
            synthesizer.generator.parameters(), synthesizer.average, strict=True
        ):
            parameter.copy_(average)
        images = synthesizer.generator(*synthesizer.copies.codes)
        answers = synthesizer.objective.teacher(synthesizer.normalisation(images))
    assert torch.equal(mine.images, to_uint8(images))
    confidence = answers.softmax(1).amax(1).mean().item()
    assert mine.provenance.figures.confidence == pytest.approx(confidence, rel=1e-3)


def test_a_batch_that_diverges_leaves_the_average(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesizer, plain = (built(AveragedGenerator, experiment) for _ in range(2))
    nan = torch.tensor(torch.nan)
    monkeypatch.setattr(synthesizer.objective, "bn_loss", lambda statistics: nan)
    with pytest.raises(DivergedError):
        synthesizer.synthesize(0)
    monkeypatch.undo()
    made = [each.synthesize(0, 1).images for each in (synthesizer, plain)]
    assert torch.equal(*made)
    assert synthesizer.averaged == STEPS


def test_the_adversary_s_weight_follows_the_divergence(experiment: Experiment) -> None:
    synthesizer, plain = built(AimedAdversary, experiment), built(FastSynthesizer, experiment)
    planned = synthesizer.objective.adv
    assert planned > 0
    for round in range(2):  # the first is a warm-up round, without the term
        mine, theirs = synthesizer.synthesize(round), plain.synthesize(round)
        assert torch.equal(mine.images, theirs.images)
    divergence = -mine.provenance.losses["adv"]
    factor = math.exp(0.2 * (AimedAdversary.aim - divergence) / AimedAdversary.aim)
    assert synthesizer.objective.adv == pytest.approx(
        min(max(planned * factor, planned / 4), 4 * planned)
    )
    synthesizer.objective.adv = 4 * planned
    synthesizer.aim = 0.99  # out of reach
    synthesizer.synthesize(2)
    assert synthesizer.objective.adv == 4 * planned


def test_each_generator_makes_and_learns_from_its_own_rounds(experiment: Experiment) -> None:
    synthesizer, plain = built(TwoLasting, experiment), built(FastSynthesizer, experiment)
    first = synthesizer.synthesize(0).images
    assert torch.equal(first, plain.synthesize(0).images)  # number 0 is the method's generator
    of_0 = [weights.clone() for weights in synthesizer.shared.all[0]]
    of_1 = [weights.clone() for weights in synthesizer.shared.all[1]]
    assert not torch.equal(of_0[0], of_1[0])
    synthesizer.synthesize(1)
    assert all(map(torch.equal, synthesizer.shared.all[0], of_0))
    assert not torch.equal(synthesizer.shared.all[1][0], of_1[0])
    synthesizer.shared.begin(2)
    assert torch.equal(first_layer(synthesizer), of_0[0])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TwoInTurn, {8: 0, 17: 1, 24: 0, 33: 1, 40: 0}),
        (FourInTurn, {8: 0, 17: 1, 26: 2, 35: 3, 40: 0}),
        (TwoLasting, {}),
    ],
)
def test_generators_are_drawn_anew_in_turn(
    experiment: Experiment, kind: type[SynthesizerInTurn], expected: dict[int, int]
) -> None:
    shared, found = built(kind, experiment).shared, {}
    for round in range(41):
        before = [weights[0].clone() for weights in shared.all]
        shared.begin(round)
        for number, weights in enumerate(before):
            if not torch.equal(weights, shared.all[number][0]):
                found[round] = number  # due at 8, 16, 24, ...: drawn at its next own round
    assert found == expected


def test_a_generator_is_drawn_anew_before_its_round_and_from_other_numbers(
    experiment: Experiment,
) -> None:
    shared = built(TwoInTurn, experiment).shared
    initial = shared.all[0][0].clone()
    shared.all[0][0].add_(1)  # as if it had learned
    shared.begin(6)
    assert torch.equal(shared.all[0][0], initial + 1)
    shared.begin(8)
    drawn = shared.all[0][0].clone()
    assert not torch.equal(drawn, initial)
    other = built(TwoInTurn, experiment).shared
    other.begin(8)
    assert torch.equal(other.all[0][0], drawn)  # whatever happened before


@pytest.mark.parametrize("kind", [AveragedGenerator, TwoInTurn, AimedAdversary])
def test_a_saved_synthesizer_goes_on(experiment: Experiment, kind: type[FastSynthesizer]) -> None:
    one, other = built(kind, experiment), built(kind, experiment)
    for round in range(8):
        one.shared.begin(round)
    one.synthesize(8)
    other.load_state_dict(one.state_dict())
    for round in (9, 10):
        assert torch.equal(one.synthesize(round).images, other.synthesize(round).images)
