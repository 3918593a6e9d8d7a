"""The naive CMI computes the same function as the package's."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import pair_case
from benchmarks.inversion_cost import batch_draws, cmi_synthesizer
from benchmarks.naive_cmi import NaiveCMI


def test_two_steps() -> None:
    torch.manual_seed(0)
    case = pair_case("resnet14/resnet8-half", torch.device("cpu"), images=8, steps=2, batch=8)
    ours = cmi_synthesizer(case, "float32", memory=20, draws=12)
    baseline = NaiveCMI(ours, case.teacher, case.student, case.normalisation)
    images, losses = baseline.optimise(batch_draws(ours, case))
    made = ours.optimise(batch_draws(ours, case), True)
    assert made.losses["loss"] == pytest.approx(min(losses), rel=1e-4)
    torch.testing.assert_close(made.images, images, rtol=0, atol=2e-2)
