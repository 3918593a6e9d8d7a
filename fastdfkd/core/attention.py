"""Attention transfer: the student's maps should be bright where the teacher's are.

    L_att = sum over stages of mean (Q_T - Q_S)^2

Q is a map's mean square over channels, flattened and divided by its L2 norm (the attention term of
ZSKT, arXiv 1905.09768, with the maps of arXiv 1612.03928).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.stages import Stage, stages_of
from fastdfkd.core.task import Task


class Attention:
    """Implements `MapTerm` (`core/map_losses.py`). What is kept of a map is Q."""

    def __init__(self, task: Task):
        found = stages_of(task, "distillation.attention", with_logits=True)
        self.stages, self.left_out = found.common, found.left_out
        self.learned = nn.ModuleDict()
        """Nothing is learned."""

    def of_teacher(self, _stage: Stage, maps: Tensor) -> Tensor:
        """Q (B, h * w) of maps (B, C, h, w)."""
        return attention_map(maps)

    def of_student(self, _stage: Stage, maps: Tensor) -> Tensor:
        """Q (B, h * w) of maps (B, c, h, w)."""
        return attention_map(maps)

    def loss(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """L_att of the maps Q of all stages; a scalar."""
        return attention_loss(teacher, student)

    def line(self, stage: Stage) -> str:
        """How a stage is compared."""
        return f"{stage.student.module or 'its answer'} with {stage.teacher.module or 'the answer'}"


def attention_map(maps: Tensor) -> Tensor:
    """Q (B, h * w) of maps (B, C, h, w): mean square over channels, of L2 norm 1."""
    exact = maps if maps.dtype is torch.float64 else maps.float()
    return F.normalize(exact.square().mean(1).flatten(1))


def attention_loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """L_att of the maps Q of all stages, each (B, h * w); a scalar."""
    pairs = zip(teacher, student, strict=True)
    return torch.stack([(t - s).square().mean() for t, s in pairs]).sum()
