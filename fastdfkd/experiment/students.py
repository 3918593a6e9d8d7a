"""The student before its first update."""

from __future__ import annotations

import logging

from torch import nn

from fastdfkd.core.network_contract import check_student
from fastdfkd.core.random_streams import seeded
from fastdfkd.experiment.images import student_spec
from fastdfkd.models import (
    open_network,
    parametrised_layers,
    select_weights,
    thin,
    without_parametrisations,
)
from fastdfkd.recipe import Recipe

log = logging.getLogger(__name__)


def initial_student(recipe: Recipe, teacher: nn.Module | None = None) -> nn.Module:
    """The student before its first update.

    Args:
        recipe: of the experiment.
        teacher: without parametrisations. With `student.start_from: teacher` the student gets a
            selection of its weights. None, or without that key: the weights follow from the seed.

    Raises:
        ValueError: the student cannot be built, does not fit the images, or no weights of the
            teacher fit it.
    """
    spec, section = student_spec(recipe), recipe.student
    student = _opened(recipe) if teacher is None else _started(recipe, teacher)
    layers = parametrised_layers(student)
    if layers:
        raise ValueError(
            f"student.model: its layers {', '.join(layers[:3])} are parametrised "
            "(torch.nn.utils.parametrize). Such layers cannot be sent to another process: call "
            "torch.nn.utils.parametrize.remove_parametrizations on them in the builder"
        )
    share = recipe.distillation.batch_size // max(recipe.platform.workers, 1)
    try:
        check_student(student, spec.shape, spec.kind, output=section.output, batch_size=share)
    except ValueError as error:
        if section.width == 1:
            raise
        raise ValueError(
            f"{error}. The student is thinned to a width of {section.width:g}: if the whole "
            "network passes, remove `width`, and name a smaller network"
        ) from error
    return student


def _opened(recipe: Recipe, width: float | None = None) -> nn.Module:
    """The recipe's network with random weights; `width`: in place of the section's."""
    section = recipe.student
    if width is not None:
        section = section.model_copy(update={"width": width})
    with seeded(recipe.seed, "student"):
        return open_network(section, student_spec(recipe))


def _started(recipe: Recipe, teacher: nn.Module) -> nn.Module:
    """The recipe's network with the weights that it starts with.

    The whole network gets the teacher's weights and is then thinned, so that each weight stays with
    its channel. A teacher that is thinned itself fits no whole network: its weights are selected
    for the thin one.
    """
    section = recipe.student
    if section.start_from != "teacher":
        return _opened(recipe)
    if section.width == 1 or recipe.teacher.width < 1:
        student = _opened(recipe)
        log.info("student: %s", select_weights(student, teacher).line)
        return student
    student = without_parametrisations(_opened(recipe, width=1.0))
    log.info("student: before it is thinned, %s", select_weights(student, teacher).line)
    thin(student, section.width, student_spec(recipe).shape)
    return student
