"""The naive NAYER computes the same function as the package's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.cases import Case, pair_case
from benchmarks.inversion_cost import batch_draws, nayer_synthesizer
from benchmarks.naive_nayer import NaiveNAYER


@pytest.fixture
def case() -> Iterator[Case]:
    """In float64: a step of Adam multiplies the rounding of gradients that are nearly 0."""
    torch.manual_seed(0)
    made = pair_case("resnet14/resnet8-half", torch.device("cpu"), images=24, steps=2, batch=8)
    torch.set_default_dtype(torch.float64)
    for network in (made.teacher, made.student):
        network.double()
    yield made
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_two_batches_of_two_steps(case: Case) -> None:
    """Three noisy layers; the generator goes on, the layers are drawn anew."""
    ours = nayer_synthesizer(case, "float32")
    baseline = NaiveNAYER(ours, case.teacher, case.student, case.normalisation)
    for _ in range(2):
        images, losses = baseline.optimise(batch_draws(ours, case))
        made = ours.optimise(batch_draws(ours, case), True)
        assert made.losses["loss"] == pytest.approx(min(losses), rel=1e-9)
        torch.testing.assert_close(made.images, images, rtol=0, atol=1e-8)
        ours.learn([made.update])
