"""The arguments from which synthesizers and the distiller are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Normalisation
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.precision import Precision
from fastdfkd.core.student_form import StudentForm
from fastdfkd.core.task_kind import TaskKind


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Both networks with their task, on one device. Synthesizers copy the student."""

    teacher: nn.Module
    """Synthesizer and distiller freeze it and set it to eval mode."""
    student: nn.Module
    """In its initial state. The distiller trains it in place."""
    image_shape: Sequence[int]
    """(C, H, W)."""
    kind: TaskKind
    """What both networks predict, with the number of classes."""
    teacher_use: NetworkUse = field(default_factory=NetworkUse)
    """How to run the teacher (the result of `network_trial.find_network_use`)."""
    student_use: NetworkUse = field(default_factory=NetworkUse)
    """How to run the student."""
    normalisation: Normalisation
    """Maps images in [0, 1] to the teacher's input, on `device`."""
    student_form: StudentForm | None = None
    """Maps the teacher's input to the student's, on `device`; None: they are the same."""
    student_origins: Mapping[str, str] = field(default_factory=dict)
    """Modules of the student whose weights start as evenly spaced channels of the teacher's, by
    name, with the names of the teacher's modules."""
    class_vectors: Tensor | None = None
    """(K, D), given by the user: a fixed vector for each class."""
    seed: int
    """Seed of all random numbers."""
    device: torch.device | str = "cpu"
    precision: Precision = "float32"
    """Type of autocast. Weights, statistics and losses stay float32."""
    capture: bool = False
    """Capture steps as CUDA graphs (`core/captured.py`). No effect on a CPU."""
    compile: bool | Literal["auto"] = False
    """Compile parts of steps, always or where that pays (`core/compiled.py`)."""
    synthesizers: int = 1
    """How many share the rounds of the run."""

    @property
    def student_shape(self) -> tuple[int, ...]:
        """(C, H, W) of the student's images."""
        size = self.student_form.size if self.student_form else None
        return (self.image_shape[0], *(size or self.image_shape[1:]))
