"""A whole run of two rounds, in one process."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from ray import cloudpickle

from fastdfkd.core.evaluation import evaluate
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment, image_spec
from fastdfkd.models import open_network, save_weights
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.teacher import prepare_teacher


def distilled(recipe: Recipe, tmp_path: Path) -> Experiment:
    """All that the program does with the two networks, in one process."""
    weights = tmp_path / "teacher.safetensors"
    spec = image_spec(recipe)
    save_weights(weights, open_network(recipe.teacher, spec))
    recipe = load_recipe(recipe, {"teacher.weights": str(weights)})
    teacher = prepare_teacher(recipe)
    sent = cloudpickle.dumps(Experiment.of(recipe, teacher.model))
    trainer, maker = cloudpickle.loads(sent), cloudpickle.loads(sent)
    synthesizer, distiller = maker.synthesizer(), trainer.distiller()
    buffer = trainer.buffer()
    reference_loop(synthesizer, buffer, distiller, recipe.synthesis, recipe.distillation)
    assert distiller.updates == recipe.updates
    student = tmp_path / "student.safetensors"
    save_weights(student, distiller.student_state())
    again = open_network(recipe.student, spec, student)
    images = torch.arange(3 * math.prod(spec.shape)).to(torch.uint8).reshape(3, *spec.shape)
    output = recipe.student.output
    said = [
        evaluate(
            each, images, None, trainer.kind, trainer.normalisation("cpu"), "cpu", output=output
        ).classes
        for each in (again, distiller.module)
    ]
    assert torch.equal(*said)
    result: Experiment = trainer
    return result
