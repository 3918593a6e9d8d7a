"""ZSKT: zero-shot knowledge transfer via adversarial belief matching (arXiv 1905.09768).

The generator maximises the divergence of the student from the teacher, the student minimises it,
with an attention term where the recipe gives it a weight (`distillation.attention`):

    L_G = - mean KL(T || S)                      (temperature 1)
    L_S = mean KL(T || S) + attention * L_att    (`core/attention.py`)

The authors' code divides KL by the number of classes K too. That changes nothing for the
generator, whose Adam ignores the size of a loss; its attention weight of 250 is 250 K here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastdfkd.core.methods.generative import GenerativeMethod, Noise, minus_divergence
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import ZSKTSynthesis


class ZSKT(GenerativeMethod):
    """Implements `Synthesizer`. Needs no BatchNorm and no classes."""

    section: ZSKTSynthesis

    def __init__(self, section: ZSKTSynthesis, task: Task, index: int = 0):
        super().__init__(section, task, index, minus_divergence(task.kind))

    def noise(self, round: int, attempt: int) -> Noise:
        """Draw the noise of a round; with `same_noise` the images have that of the last step."""
        noise = super().noise(round, attempt)
        return replace(noise, images=noise.steps[-1]) if self.section.same_noise else noise
