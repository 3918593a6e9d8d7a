"""Networks of torchvision, timm and transformers, as teacher and as student: two rounds each."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import cloudpickle

from fastdfkd.core.evaluation import predict
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.data import table
from fastdfkd.experiment import Experiment, image_spec
from fastdfkd.models import open_network, save_weights
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.teacher import prepare_teacher

from .families import FAMILIES, SHAPE, Family


@pytest.fixture(autouse=True)
def images_of_64_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    half = (0.5, 0.5, 0.5)
    spec = ImageSpec(name="digits", shape=SHAPE, num_classes=10, mean=half, std=half)
    monkeypatch.setitem(table.DATASETS, "digits", (spec, lambda split, root: None))


def recipe_of(tiny: Any, role: str, family: Family, folder: Path) -> Recipe:
    model = family.model
    if family.config:
        pytest.importorskip("transformers")
        (folder / "config.json").write_text(json.dumps(family.config))
        model = f"hf:{folder}"
    if model.startswith("timm:"):
        pytest.importorskip("timm")
    other = "student" if role == "teacher" else "teacher"
    return load_recipe(
        tiny(),
        {
            f"{role}.model": model,
            f"{role}.arguments": family.arguments,
            f"{other}.model": "resnet8-half",
            "synthesis.steps": 2,
            "synthesis.generator_width": 4,
            "synthesis.latent_dim": 4,
            "synthesis.bn": family.bn if role == "teacher" else 1.0,
            "distillation.updates_per_round": 2,
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=[family.model for family in FAMILIES])
@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_family_is_distilled(tiny_recipe: Any, tmp_path: Path, role: str, family: Family) -> None:
    recipe = recipe_of(tiny_recipe, role, family, tmp_path)
    spec, weights = image_spec(recipe), tmp_path / "teacher.safetensors"
    save_weights(weights, open_network(recipe.teacher, spec))
    recipe = load_recipe(recipe, {"teacher.weights": str(weights)})
    teacher = prepare_teacher(recipe)
    parts = cloudpickle.loads(cloudpickle.dumps(Experiment.of(recipe, teacher.model)))
    synthesizer, distiller, buffer = parts.synthesizer(), parts.distiller(), parts.buffer()
    reference_loop(synthesizer, buffer, distiller, recipe.synthesis, recipe.distillation)
    assert distiller.updates == recipe.updates
    save_weights(tmp_path / "student.safetensors", distiller.student_state())
    again = open_network(recipe.student, spec, tmp_path / "student.safetensors")
    images = torch.arange(3 * math.prod(SHAPE), dtype=torch.uint8).reshape(3, *SHAPE)
    normalise = spec.normalisation("cpu")
    said = [predict(net, images, normalise, "cpu") for net in (again, distiller.module)]
    assert torch.equal(*said)
