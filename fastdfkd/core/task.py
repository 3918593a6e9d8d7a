"""What is compressed, and where: what every part of the algorithm is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from fastdfkd.core.augment import Normalisation
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.precision import Precision
from fastdfkd.core.task_kind import TaskKind


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A teacher to follow on one device. Synthesizers work on copies of the student."""

    teacher: nn.Module
    """Frozen and put into eval mode by whoever uses it."""
    student: nn.Module
    """In its initial state; the distiller trains it in place."""
    image_shape: Sequence[int]
    """(C, H, W)."""
    kind: TaskKind
    """What both networks answer, with the number of classes."""
    teacher_use: NetworkUse = field(default_factory=NetworkUse)
    """How the teacher is run (`core/network_trial.py` finds out)."""
    student_use: NetworkUse = field(default_factory=NetworkUse)
    """Likewise."""
    normalisation: Normalisation
    """From [0, 1] to what both networks expect, on `device`."""
    seed: int
    """Everything random follows from it."""
    device: torch.device | str = "cpu"
    precision: Precision = "float32"
    """Autocast type; weights, statistics and losses stay float32."""
    capture: bool = False
    """Record steps as CUDA graphs and replay them (`core/captured.py`); nothing on a CPU."""
