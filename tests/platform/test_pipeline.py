"""The platform on real Ray against the single-process reference."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment
from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


def reference_student(recipe: Recipe, teacher: Teacher) -> dict[str, torch.Tensor]:
    experiment = Experiment.of(recipe, copy.deepcopy(teacher.model))
    distiller = experiment.distiller()
    reference_loop(
        experiment.synthesizer(),
        experiment.buffer(),
        distiller,
        recipe.synthesis,
        recipe.distillation,
    )
    return distiller.student_state()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("meta", ["fomaml", "reptile", "sequential", "none"])
def test_lockstep_equals_the_reference_bit_for_bit(
    meta: str, teacher: Teacher, tmp_path: Path
) -> None:
    recipe = tiny(platform__schedule="lockstep", synthesis__meta=meta)
    result = pipeline.run(recipe, teacher, tmp_path, Rows())
    ours, expected = load_file(tmp_path / "student.safetensors"), reference_student(recipe, teacher)
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(ours[name], tensor), name
    assert (result.images, result.updates) == (7 * 16, 5 * 3)
    assert result.max_staleness == 0
