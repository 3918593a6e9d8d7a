"""The recipe section of DFAD (arXiv 1912.11006)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.generative import GenerativeSection
from fastdfkd.recipe.numbers import Weight


class DFADSynthesis(GenerativeSection):
    """DFAD: a generator that maximises the L1 distance of the logits of teacher and student.

    The student minimises it: `distillation.loss: l1` (arXiv 1912.11006).
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.dfad:DFAD"

    later: ClassVar[frozenset[str]] = frozenset({"distance"})

    method: Literal["dfad"]
    """Selects this method."""
    distance: Literal["l1", "log_l1"] = "l1"
    """What the generator maximises: the mean absolute difference d of the logits, or ln(1 + d) as
    DFAD does for segmentation."""
    adv: Weight = 1.0
    """Weight of minus the mean absolute difference of the logits. Adam makes its size immaterial
    while no other term has a weight."""
