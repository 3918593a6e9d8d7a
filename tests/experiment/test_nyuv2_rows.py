"""The recipes of the NYUv2 row run, on a small file of the true format and at a small size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe
from tests.data.nyu_files import TEST, small_maps, small_scenes

SMALL: dict[str, Any] = {
    "input.shape": [3, 32, 32],
    "data.resize": [36, 48],
    "synthesis.rounds": 1,
    "synthesis.warmup_rounds": 0,
    "synthesis.batch_size": 4,
    "distillation.updates_per_round": 2,
    "distillation.batch_size": 2,
}
GENERATIVE = {"synthesis.generator_batch_size": 2, "bank.capacity": 4}
FAST = {"synthesis.steps": 2, "synthesis.reset_after": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "changes"), [("fast10", FAST), ("dafl", GENERATIVE), ("dfad", GENERATIVE)]
)
def test_a_row_runs(tmp_path: Path, row: str, changes: dict[str, Any]) -> None:
    small_maps(tmp_path)
    small_scenes(tmp_path)
    recipe = load_recipe(f"nyuv2-{row}", {**SMALL, **changes, "data.root": str(tmp_path)})
    torch.manual_seed(0)
    teacher = build_network(recipe.teacher.model, 13, 3).eval()
    experiment = Experiment.of(recipe, teacher)
    normalise = experiment.normalisation("cpu")
    distiller, buffer = experiment.distiller(), experiment.buffer()
    before = {key: value.clone() for key, value in distiller.module.state_dict().items()}
    reference_loop(
        experiment.synthesizer(), buffer, distiller, recipe.synthesis, recipe.distillation
    )
    after = distiller.module.state_dict()
    assert len(buffer) == 4
    assert all(not torch.equal(after[key], before[key]) for key in before if "weight" in key)
    answers = experiment.judge.answers(distiller.module, normalise, "cpu")
    assert answers.classes.numel() == len(TEST) * 36 * 48
    assert math.isfinite(answers.figures["mean_iou"])
