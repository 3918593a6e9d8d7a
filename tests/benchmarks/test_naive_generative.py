"""The naive rounds compute the same function as the package."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.cases import Case, pair_case
from benchmarks.generative_cost import GENERATIVE, generative_works
from benchmarks.naive_generative import NaiveGenerative
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.recipe import METHODS


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    return pair_case("resnet14/resnet8-half", torch.device("cpu"), images=8, steps=1, batch=8)


@pytest.mark.parametrize("method", GENERATIVE)
def test_a_round_is_the_same(method: str, case: Case) -> None:
    section: Any = METHODS[method](
        method=method, batch_size=16, generator_batch_size=8, generator_width=8, latent_dim=9
    )
    ours: Any = build_synthesizer(section, case.task("float32"))
    plain = NaiveGenerative(
        section, ours.shared.generator, case.teacher, case.student, case.normalisation
    )
    noise = ours.noise(0, 0)
    images, losses = plain.round(noise.steps, noise.images)
    batch = ours.synthesize(0)
    assert batch.provenance.losses["loss"] == pytest.approx(losses[0], rel=1e-4)
    difference = (batch.images.int() - images.int()).abs()
    assert difference.float().mean() < 1.0, "Adam's first step is a sign: small values may flip"


@pytest.mark.parametrize("method", GENERATIVE)
def test_what_is_timed_runs(method: str, case: Case) -> None:
    size, works = generative_works(case, method, ", cuda_graphs")
    assert size == "8 images a step, 40 a round"
    assert list(works)[:2] == ["naive", "float32"]
    for work in works.values():
        work()
