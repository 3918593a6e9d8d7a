"""Trials of distillers, beside the distiller that they change."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import trial_distillers
from benchmarks.timed_run import RunParts, TimedDistiller, TimedRun
from benchmarks.trial_distillers import (
    AdmittedImages,
    HeavyMapsOfStages,
    MapsOfStages,
    OwnTemperature,
    ReplayDistiller,
    fitting_temperature,
)
from fastdfkd.core.losses import kl_divergence
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe

BATCH = 8
CHANGES = {
    "student.model": "resnet8-half",
    "student.start_from": "teacher",
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 4,
    "synthesis.steps": 1,
    "distillation.batch_size": BATCH,
    "distillation.updates_per_round": 3,
    "distillation.random_shapes": 0.5,
    "distillation.teacher_cache": 4,
    "platform.precision": "float32",
}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    torch.manual_seed(0)
    teacher = build_network("resnet8", 10, 1).eval()
    return Experiment.of(load_recipe("digits-fast5", CHANGES), teacher)


def built(kind: type[TimedDistiller], experiment: Experiment) -> Any:
    return TimedRun(experiment, RunParts(distiller=kind)).distiller


def full_bank(experiment: Experiment, count: int = 20, capacity: int = 32) -> SampleBuffer:
    bank = SampleBuffer(capacity, experiment.spec.shape)
    numbers = torch.Generator().manual_seed(0)
    shape = (count, *experiment.spec.shape)
    bank.extend(torch.randint(256, shape, dtype=torch.uint8, generator=numbers))
    return bank


def weights(distiller: Any) -> Tensor:
    parts = [tensor.flatten().double() for tensor in distiller.student_state().values()]
    return torch.cat(parts)


def test_chances_are_half_uniform_and_half_those_of_the_last_kl(experiment: Experiment) -> None:
    replay = built(ReplayDistiller, experiment)
    replay.last = torch.tensor([1.0, torch.nan, 3.0, 0.0])
    weights = torch.tensor([1.0, 3.0, 3.0, 0.0], dtype=torch.float64)  # unknown: as the largest
    torch.testing.assert_close(replay.chances(), 0.125 + weights / 14)
    replay.last = torch.full((4,), torch.nan)
    torch.testing.assert_close(replay.chances(), torch.full((4,), 0.25, dtype=torch.float64))
    replay.last = torch.zeros(4)
    torch.testing.assert_close(replay.chances(), torch.full((4,), 0.25, dtype=torch.float64))


def test_images_are_drawn_by_their_chances(experiment: Experiment) -> None:
    replay, bank = built(ReplayDistiller, experiment), full_bank(experiment, 10)
    bank.images[:] = torch.arange(len(bank.images), dtype=torch.uint8)[:, None, None, None]
    randomness = torch.Generator().manual_seed(0)
    replay._choose(bank, 1, randomness)
    replay.last = torch.tensor([9.0, *[1.0] * 9])
    drawn = replay._choose(bank, 4000, randomness)
    assert torch.equal(drawn[:, 0, 0, 0].long(), replay.drawn)
    shares = torch.bincount(replay.drawn, minlength=10) / 4000
    torch.testing.assert_close(shares, replay.chances().float(), atol=0.02, rtol=0)
    assert shares[0] == pytest.approx(0.05 + 0.25, abs=0.02)


def test_an_update_keeps_the_kl_of_the_images_that_it_drew(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay, bank = built(ReplayDistiller, experiment), full_bank(experiment)
    asked: list[Tensor] = []
    answered: list[Tensor] = []
    ask, of_each = replay.ask, replay.loss

    def watched_ask(images: Tensor, *rest: Any) -> Any:
        asked.append(images)
        return ask(images, *rest)

    def watched_loss(teacher: Tensor, student: Tensor) -> Tensor:
        answered.append(kl_divergence(teacher, student.detach(), replay.section.temperature))
        loss: Tensor = of_each(teacher, student)
        return loss

    monkeypatch.setattr(replay, "ask", watched_ask)
    monkeypatch.setattr(replay, "loss", watched_loss)
    expected: dict[int, float] = {}
    for _ in range(18):  # the cache is full after 16: then 2 of 8 views are new, 1 of the bank
        replay.update(bank)
        drawn = replay.drawn.tolist()
        assert torch.equal(asked[-1][: len(drawn)], bank.images[drawn])
        expected |= dict(zip(drawn, answered[-1].tolist(), strict=False))
        kept = {slot: float(kl) for slot, kl in enumerate(replay.last) if not kl.isnan()}
        assert kept == expected
    assert len(drawn) == 1
    assert len(asked[-1]) == 2


def test_without_priorities_the_student_is_the_plain_one(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay, plain = built(ReplayDistiller, experiment), built(TimedDistiller, experiment)
    bank = full_bank(experiment)

    def uniform(chances: Tensor, count: int, replacement: bool, generator: Any) -> Tensor:
        return torch.randint(len(chances), (count,), generator=generator)

    monkeypatch.setattr(trial_distillers.torch, "multinomial", uniform)
    for _ in range(3):
        assert torch.equal(replay.update(bank), plain.update(bank))
    assert torch.equal(weights(replay), weights(plain))


def test_images_that_replace_others_were_never_drawn(experiment: Experiment) -> None:
    replay, bank = built(ReplayDistiller, experiment), full_bank(experiment, 6, capacity=8)
    randomness = torch.Generator().manual_seed(0)
    replay._choose(bank, 1, randomness)
    replay.last[:] = 1.0
    bank.extend(bank.images[:4].clone())  # into slots 6, 7, 0, 1
    replay._choose(bank, 1, randomness)
    assert replay.last.isnan().tolist() == [True, True, False, False, False, False, True, True]


@pytest.mark.parametrize(("kind", "weight"), [(MapsOfStages, 0.1), (HeavyMapsOfStages, 1.0)])
def test_the_trial_of_maps_is_the_recipe_with_the_key(
    experiment: Experiment, kind: type[TimedDistiller], weight: float
) -> None:
    bank = full_bank(experiment)
    recipe = load_recipe(experiment.recipe, {"distillation.stage_maps": weight})
    with_key = TimedRun(replace(experiment, recipe=recipe)).distiller
    trial, plain = built(kind, experiment), built(TimedDistiller, experiment)
    assert trial.update(bank) == with_key.update(bank) > plain.update(bank)
    assert torch.equal(weights(trial), weights(with_key))


def test_only_admitted_images_are_drawn(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller, bank = built(AdmittedImages, experiment), full_bank(experiment, 6)
    with torch.no_grad():
        inputs = experiment.normalisation("cpu")(bank.images[:6].float() / 255)
        expected = experiment.teacher(inputs).softmax(1).amax(1)
    torch.testing.assert_close(distiller.confidence(bank.images[:6]), expected)
    monkeypatch.setattr(AdmittedImages, "least", float(expected.sort().values[-2]))
    bank.images[:] = torch.arange(len(bank.images), dtype=torch.uint8)[:, None, None, None]
    monkeypatch.setattr(distiller, "confidence", lambda images: expected[: len(images)])
    drawn = distiller._choose(bank, 200, torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert set(drawn.tolist()) == set(expected.topk(2).indices.tolist())
    bank.extend(bank.images[:2].clone())  # two more, as sure as the first two
    distiller._choose(bank, 1, torch.Generator())
    assert torch.equal(distiller.admitted[6:], distiller.admitted[:2])
    distiller.admitted[:] = False
    everything = distiller._choose(bank, 200, torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert len(everything.unique()) > 2


def test_the_temperature_gives_the_entropy(experiment: Experiment) -> None:
    logits = 30 * torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    chances = (logits / fitting_temperature(logits, 0.25)).softmax(1)
    entropy = -(chances * chances.log()).sum(1).mean()
    assert float(entropy) == pytest.approx(0.25 * math.log(10), rel=1e-3)
    distiller = built(OwnTemperature, experiment)
    first = distiller.loss(logits, torch.zeros(64, 10))
    temperature = fitting_temperature(logits, distiller.part)
    expected = kl_divergence(logits, torch.zeros(64, 10), temperature).mean() * temperature**2
    torch.testing.assert_close(first, expected)
    distiller.loss(logits / 10, torch.zeros(64, 10))
    assert distiller.log_temperature == pytest.approx(
        math.log(temperature) - 0.1 * math.log(10), rel=1e-3
    )


@pytest.mark.parametrize("kind", [ReplayDistiller, MapsOfStages, AdmittedImages, OwnTemperature])
def test_a_saved_run_goes_on(
    experiment: Experiment, kind: type[TimedDistiller], tmp_path: Path
) -> None:
    run, copy = (TimedRun(experiment, RunParts(distiller=kind)) for _ in range(2))
    run._synthesize()
    for _ in range(3):
        run.distiller.update(run.buffer)
    run.save(tmp_path / "run.pt")
    copy.load(tmp_path / "run.pt")
    for each in (run, copy):
        each._synthesize()
        for _ in range(3):
            each.distiller.update(each.buffer)
    assert torch.equal(weights(run.distiller), weights(copy.distiller))
