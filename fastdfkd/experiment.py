"""One experiment's parts, built once in the driver and handed to every role."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fastdfkd.core.augment import Normalisation
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.network_contract import check_student, check_teacher
from fastdfkd.core.random_streams import seeded
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.synthesizers import build_synthesizer
from fastdfkd.core.task import Task
from fastdfkd.data import DataSpec, LabelledImages, data_spec, load_split
from fastdfkd.models import open_network
from fastdfkd.recipe import Recipe

log = logging.getLogger(__name__)


def initial_student(recipe: Recipe) -> nn.Module:
    """The recipe's student before its first update.

    Raises:
        ValueError: it does not fit the data set.
    """
    spec = data_spec(recipe.data.name)
    with seeded(recipe.seed, "student"):
        student = open_network(
            recipe.student.model, spec.num_classes, spec.image_shape[0], key="student.model"
        )
    check_student(student, spec.image_shape, spec.num_classes)
    return student


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a synthesizer and a trainer are made from. Networks are in their initial state."""

    recipe: Recipe
    teacher: nn.Module
    student: nn.Module
    spec: DataSpec
    test: LabelledImages
    """Held-out real images: they judge the student and are never trained on."""

    @classmethod
    def of(cls, recipe: Recipe, teacher: nn.Module) -> Experiment:
        """Build the parts of a recipe around an opened teacher.

        Raises:
            ValueError: the teacher or the student does not fit the data set or the recipe.
        """
        spec = data_spec(recipe.data.name)
        check_teacher(teacher, spec.image_shape, spec.num_classes, recipe.synthesis.bn)
        student = initial_student(recipe)
        test = load_split(recipe.data.name, "test", recipe.data.root)
        return cls(recipe=recipe, teacher=teacher, student=student, spec=spec, test=test)

    def normalisation(self, device: torch.device | str) -> Normalisation:
        """The data set's normalisation on `device`."""
        return Normalisation(self.spec.mean, self.spec.std, device)

    def task(self, device: torch.device | str) -> Task:
        """What both roles are made from, on `device`."""
        platform = self.recipe.platform
        if platform.cuda_graphs and torch.device(device).type == "cpu":
            log.warning("platform.cuda_graphs has no effect here: this role runs on the CPU")
        return Task(
            teacher=self.teacher,
            student=self.student,
            image_shape=self.spec.image_shape,
            num_classes=self.spec.num_classes,
            normalisation=self.normalisation(device),
            seed=self.recipe.seed,
            device=device,
            precision=platform.precision,
            capture=platform.cuda_graphs,
        )

    def synthesizer(self, device: torch.device | str = "cpu", index: int = 0) -> Synthesizer:
        """A synthesizer in its initial state."""
        return build_synthesizer(self.recipe.synthesis, self.task(device), index)

    def distiller(self, device: torch.device | str = "cpu", **worker: Any) -> StudentDistiller:
        """A distiller in its initial state; `worker` is rank, world_size and wrap."""
        return StudentDistiller(
            self.recipe.distillation,
            self.task(device),
            total_updates=self.recipe.updates,
            **worker,
        )

    def buffer(self, device: torch.device | str = "cpu") -> SampleBuffer:
        """An empty buffer of the bank's capacity."""
        return SampleBuffer(self.recipe.capacity, self.spec.image_shape, device)
