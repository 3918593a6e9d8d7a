"""DFQ: data-free network quantization with adversarial knowledge distillation (arXiv 2005.04136).

It was made for quantised students; the FastDFKD paper compares it as a way to make images:

    L_G = bn * L_bn + oh * CE(t, argmax t) + balance * sum_k mean(p)_k ln mean(p)_k
          - adv * mean KL(T || S)

These are the terms of that comparison's code, with the norms of FastDFKD's L_bn. The paper has
mean entropy (`confidence`) in place of the cross-entropy, and the divergence of normal
distributions as L_bn (`statistics: gaussians`). No official code exists, so the paper's weights
are second-hand here (docs/methods.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdfkd.core.bn_statistics import FORMS
from fastdfkd.core.methods.generative import GenerativeMethod, minus_divergence
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import DFQSynthesis


class DFQ(GenerativeMethod):
    """Implements `Synthesizer`. Needs BatchNorm while `bn` is above 0."""

    def __init__(self, section: DFQSynthesis, task: Task, index: int = 0):
        form = FORMS[section.statistics]
        super().__init__(section, task, index, minus_divergence(task.kind), bn_loss=form)
