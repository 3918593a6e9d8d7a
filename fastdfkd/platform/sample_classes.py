"""The classes, or maps of classes, that both networks predict for the images in `samples.png`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.answers import output_of
from fastdfkd.core.evaluation import Predictor
from fastdfkd.core.network_use import load_state
from fastdfkd.data.judge import images_at_once
from fastdfkd.experiment import Experiment, student_input


def predicted_classes(
    experiment: Experiment, images: Tensor, student_state: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Classes (N, *space) int64 that each network predicts, by its role.

    Args:
        experiment: its networks, which are run on the CPU.
        images: (N, C, H, W) uint8.
        student_state: the student's weights; None: there is no student.
    """
    recipe = experiment.recipe
    teacher, student = experiment.teacher.cpu(), experiment.student.cpu()
    reads: dict[str, tuple[Any, ...]] = {
        "teacher": (teacher, experiment.normalisation("cpu"), "cpu", output_of(recipe.teacher))
    }
    if student_state is not None:
        load_state(student, student_state)
        reads["student"] = student, student_input(recipe, "cpu"), "cpu", recipe.student.output
    _, channels, height, width = images.shape
    batches = torch.split(images, images_at_once((channels, height, width)))
    classes = {}
    for role, parts in reads.items():
        with Predictor(*parts).running(experiment.kind) as logits_for:
            classes[role] = torch.cat([logits_for(batch).argmax(1) for batch in batches])
    return classes
