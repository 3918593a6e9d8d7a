"""DAFL: data-free learning of student networks (arXiv 1904.01186).

The generator makes images that the teacher assigns to a class with confidence (L_oh), that excite
its features (L_a), and that belong to all classes equally often (L_ie):

    L_G = oh * CE(t, argmax t) - activation * mean |f| + balance * sum_k mean(p)_k ln mean(p)_k

t are the teacher's logits, p its softmax, f what its last layer reads. No term asks the student.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdfkd.core.methods.generative import GenerativeMethod, minus_divergence
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import DAFLSynthesis


class DAFL(GenerativeMethod):
    """Implements `Synthesizer`. Needs no BatchNorm."""

    def __init__(self, section: DAFLSynthesis, task: Task, index: int = 0):
        super().__init__(section, task, index, minus_divergence(task.kind))
