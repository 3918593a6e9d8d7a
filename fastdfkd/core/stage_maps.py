"""Maps of stages: the student's maps should be the teacher's, as the hints of FitNets.

    L_maps = sum over stages of mean (T - S')^2 / mean T^2

T and S (c channels) are the maps of a stage. The division makes stages and teachers of any scale
count alike. FitNets (arXiv 1412.6550) compares one stage, before the rest is trained, without the
division. Here all stages are compared in every update.

If the student's module started from the teacher's, its channels are evenly spaced ones of it. So T
is those channels and S' is S. Elsewhere channels have no order in common, or the teacher has fewer.
Then T is the whole map, and S' is a 1x1 convolution of S, the regressor of FitNets. It is trained
with the student and thrown away with the run. Its result is taken in units of the root mean square
of T, so that its weights have the same size for every teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastdfkd.core.even_spacing import evenly_spaced
from fastdfkd.core.random_streams import seeded
from fastdfkd.core.stages import Stage, stages_of
from fastdfkd.core.task import Task

_LEAST = 1e-12
"""Least mean square of a teacher's map by which is divided: of a map of zeros."""


class StageMaps:
    """Implements `MapTerm` (`core/map_losses.py`). What is kept are the maps in full precision."""

    def __init__(self, task: Task):
        found = stages_of(task, "distillation.stage_maps")
        self.stages, self.left_out = found.common, found.left_out
        self.learned = nn.ModuleDict(
            {
                stage.name: _regressor(stage, task.seed)
                for stage in self.stages
                if not _correspond(stage, task)
            }
        )
        """The regressors of the stages that have one, by the stage's name."""

    def of_teacher(self, stage: Stage, maps: Tensor) -> Tensor:
        """What the student's map is compared with, of maps (F, C, h, w): all, or c channels."""
        if stage.name in self.learned:
            return _exact(maps)
        channels = stage.student.channels
        return _exact(evenly_spaced(maps, (len(maps), channels, *maps.shape[2:])))

    def of_student(self, _stage: Stage, maps: Tensor) -> Tensor:
        """The maps (F, c, h, w)."""
        return _exact(maps)

    def loss(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """L_maps; a scalar.

        Args:
            teacher: maps (F, C or c, h, w) of each stage.
            student: maps (F, c, h, w) of each stage.
        """
        distances = []
        for stage, taught, followed in zip(self.stages, teacher, student, strict=True):
            power = taught.square().mean().clamp_min(_LEAST)
            if stage.name in self.learned:
                followed = self.learned[stage.name](followed) * power.sqrt()
            distances.append((taught - followed).square().mean() / power)
        return torch.stack(distances).sum()

    def line(self, stage: Stage) -> str:
        """How a stage is compared."""
        mine, whole = stage.student, stage.teacher
        if stage.name in self.learned:
            how = f"a regressor from {mine.channels} to {whole.channels} channels"
        elif mine.channels == whole.channels:
            how = f"all {mine.channels} channels"
        else:
            how = f"{mine.channels} of {whole.channels} channels"
        return f"{mine.module} with {whole.module} ({how})"


def _exact(maps: Tensor) -> Tensor:
    return maps if maps.dtype is torch.float64 else maps.float()


def _correspond(stage: Stage, task: Task) -> bool:
    """Whether the student's channels of a stage are some of the teacher's."""
    origin = task.student_origins.get(stage.student.module)
    return origin == stage.teacher.module and stage.student.channels <= stage.teacher.channels


def _regressor(stage: Stage, seed: int) -> nn.Module:
    """A 1x1 convolution with torch's initial weights, from a stream of its own."""
    with seeded(seed, "stage_maps", *stage.size):
        return nn.Conv2d(stage.student.channels, stage.teacher.channels, 1)
