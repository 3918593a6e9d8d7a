"""Folders of finished runs that no pipeline made: networks with random weights and statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.experiment import image_spec, initial_student
from fastdfkd.models import open_network, save_weights, weights_digest
from fastdfkd.recipe import Recipe
from fastdfkd.runs.folder import write_json, write_text
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import write_sources
from fastdfkd.trainers.checkpoint import CheckpointFolder


def with_statistics(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with running statistics and affine weights that are not the initial ones."""
    randomness = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                tensor.data.copy_(0.3 * torch.randn(tensor.shape, generator=randomness))
            for tensor in (module.running_var, module.weight):
                tensor.data.copy_(0.7 + 0.6 * torch.rand(tensor.shape, generator=randomness))
    return network


def write_run(
    folder: Path, recipe: Recipe, result: Callable[..., RunResult], *, bank: Tensor | None = None
) -> Path:
    """Write what a finished run leaves: recipe, networks, result, and a checkpoint with images."""
    folder.mkdir(parents=True)
    teacher = with_statistics(open_network(recipe.teacher, image_spec(recipe)), 1)
    student = with_statistics(initial_student(recipe), 2)
    write_sources(recipe.source_texts(), folder)
    write_text(folder / "recipe.yaml", recipe.to_yaml())
    save_weights(folder / "student.safetensors", student)
    save_weights(folder / "teacher.safetensors", teacher)
    digest = weights_digest(teacher.state_dict())
    about: dict[str, Any] = {"source": "trained", "model": recipe.teacher.model, "digest": digest}
    write_json(folder / "teacher.json", about)
    if bank is not None:
        CheckpointFolder(folder).save(10, {}, {0: bank}, [0])
    found = result(recipe=recipe.name, recipe_digest=recipe.digest(), teacher_digest=digest)
    found.save(folder / "result.json")
    return folder


def bank_images(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Random images (count, C, H, W) uint8."""
    randomness = torch.Generator().manual_seed(3)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=randomness)


def without_data(name: str, student: str, shape: tuple[int, int, int], **changes: Any) -> Recipe:
    """A recipe without real images."""
    values: dict[str, Any] = {
        "name": name,
        "data": {"name": "none"},
        "input": {"shape": shape, "classes": 5, "normalisation": "half"},
        "teacher": {"model": "resnet8-half", "weights": "teacher.safetensors"},
        "student": {"model": student},
        "synthesis": {"rounds": 2, "warmup_rounds": 0, "batch_size": 4},
        "distillation": {"updates_per_round": 5, "batch_size": 4},
    }
    return Recipe.model_validate({**values, **changes})
