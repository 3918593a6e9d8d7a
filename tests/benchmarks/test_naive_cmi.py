"""The naive CMI computes the same function as the package's."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import pair_case
from benchmarks.naive_cmi import NaiveCMI
from benchmarks.step_cost import cmi_draws, cmi_synthesizer


def test_two_steps() -> None:
    torch.manual_seed(0)
    case = pair_case("resnet14/resnet8-half", torch.device("cpu"), images=8, steps=2, batch=8)
    ours = cmi_synthesizer(case, "float32", memory=20, draws=12)
    baseline = NaiveCMI(ours, case.teacher, case.student, case.normalisation)
    images, losses = baseline.optimise(cmi_draws(case))
    made = ours.optimise(cmi_draws(case), True)
    assert made.losses["loss"] == pytest.approx(min(losses), rel=1e-4)
    torch.testing.assert_close(made.images, images, rtol=0, atol=2e-2)
