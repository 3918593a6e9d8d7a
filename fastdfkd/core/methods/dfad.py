"""DFAD: data-free adversarial distillation (arXiv 1912.11006).

The generator maximises the mean absolute difference of the logits t of the teacher and s of the
student, the student minimises it:

    L_G = - d  or  - ln(1 + d),  d = mean over images and classes of |t - s|
    L_S = d    (distillation.loss: l1)

The default schedule is that of the FastDFKD paper's comparison: one generator step for five student
updates. For segmentation d is also a mean over pixels, and DFAD takes the logarithm
(`distance: log_l1`); under Adam it only matters how d changes between steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from fastdfkd.core.methods.generative import GenerativeMethod
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import DFADSynthesis


class DFAD(GenerativeMethod):
    """Implements `Synthesizer`. Needs no BatchNorm and no classes."""

    def __init__(self, section: DFADSynthesis, task: Task, index: int = 0):
        logarithm = section.distance == "log_l1"

        def minus_distance(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
            distance = task.kind.logit_distance(teacher_logits, student_logits)
            return -(distance.log1p() if logarithm else distance)

        super().__init__(section, task, index, minus_distance)
