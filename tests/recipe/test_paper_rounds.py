"""Two tiny rounds of the paper's recipes, with the true networks, images and classes.

The reference loop runs them in one process. Teachers have random weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment, image_spec
from fastdfkd.models import open_network
from fastdfkd.recipe import Recipe, load_recipe, shipped_recipes, table_recipes
from fastdfkd.recipe.methods import GenerativeSection

PAPER = [file for file in shipped_recipes() if file.parent.name == "paper"] + table_recipes()
CIFAR = {"cifar10": 10, "cifar100": 100}
CHEAPEST = "wrn-40-2-wrn-16-1"
IMAGES = 2


def is_quick(name: str) -> bool:
    """Each method and data set with the cheapest pair; each variant and each pair once."""
    data, _, row = name.partition("-")
    if CHEAPEST in name:
        return data == "cifar10" or "fast" not in row or row.endswith("fast5")
    return data == "cifar10" and row.endswith("fast5")


def short(file: Path) -> Recipe:
    """The recipe with two rounds of few images and few steps, without files of images."""
    recipe = load_recipe(file)
    synthesis: dict[str, Any] = {"rounds": 2, "warmup_rounds": 0, "batch_size": IMAGES}
    if isinstance(recipe.synthesis, GenerativeSection):
        synthesis["generator_batch_size"] = IMAGES
    else:
        synthesis["steps"] = min(recipe.synthesis.steps, 2)
    if getattr(recipe.synthesis, "pooled_steps", 0):
        synthesis["pooled_steps"] = 1
    if recipe.synthesis.method == "cmi":
        synthesis |= {"memory": 3, "memory_draws": 2}  # the second batch wraps round
    changes: dict[str, Any] = {
        "data": {"name": "none", "root": None, "resize": None, "crop": None},
        "teacher.weights": None,
        "evaluation.synthetic_images": 0,
        "synthesis": synthesis,
        "distillation": {"updates_per_round": 1, "batch_size": IMAGES, "warmup_updates": 0},
        "bank.capacity": None if recipe.bank.capacity is None else IMAGES,
    }
    if recipe.data.name in CIFAR:
        name, shape = recipe.data.name, [3, 32, 32]
        changes["input"] = {"shape": shape, "classes": CIFAR[name], "normalisation": name}
    else:
        changes["input.task"] = "segmentation" if recipe.data.name == "nyuv2" else None
    return load_recipe(recipe, changes)


def random_teacher(recipe: Recipe) -> nn.Module:
    """Random weights, and running statistics of noise: with the initial ones losses overflow."""
    torch.manual_seed(0)
    spec = image_spec(recipe)
    teacher = open_network(recipe.teacher, spec)
    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        teacher.train()(torch.randn(4, *spec.shape))
    for layer in layers:
        layer.momentum = 0.1
    return teacher.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=[] if is_quick(file.stem) else [pytest.mark.slow])
        for file in PAPER
    ],
)
def test_two_rounds_of_a_recipe_at_its_true_shapes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Networks run with all their speed-ups; to try each of these first would take most of the time.
    monkeypatch.setattr("fastdfkd.experiment.parts.find_network_use", lambda *_, **__: NetworkUse())
    recipe = short(file)
    source = recipe.teacher.model.partition(":")[0]
    if source.startswith("efficientnet"):  # of an extra package
        pytest.importorskip(source)
    parts = Experiment.of(recipe, random_teacher(recipe))
    synthesizer, distiller, bank = parts.synthesizer(), parts.distiller(), parts.buffer()
    before = {name: value.clone() for name, value in distiller.student_state().items()}
    reference_loop(synthesizer, bank, distiller, recipe.synthesis, recipe.distillation)
    assert distiller.updates == recipe.updates == 2
    assert bank.inserted == 2 * IMAGES
    assert bank.images.shape[1:] == parts.spec.shape
    assert bank.images.float().std() > 0
    after = distiller.student_state()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(before[name], value) for name, value in after.items())
