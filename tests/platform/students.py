"""The student that a lock-step run must end with, and whether one did."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file

from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.started_images import StartedImages
from fastdfkd.trainers.teacher import Teacher

Student = dict[str, torch.Tensor]
"""Its parameters and buffers, by name."""


def reference_student(recipe: Recipe, teacher: Teacher) -> Student:
    """The student of the single-process loop; its bank starts as the recipe says."""
    experiment = Experiment.of(recipe, copy.deepcopy(teacher.model))
    started = StartedImages.of(recipe, experiment.spec.shape)
    distiller = experiment.distiller()
    reference_loop(
        experiment.synthesizer(),
        experiment.buffer(started=started.parts),
        distiller,
        recipe.synthesis,
        recipe.distillation,
    )
    return distiller.student_state()


def student_of(folder: Path) -> Student:
    return load_file(folder / "student.safetensors")


def check_same(folder: Path, expected: Student) -> None:
    """The run in `folder` ended with exactly this student."""
    ours = student_of(folder)
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(ours[name], tensor), name
