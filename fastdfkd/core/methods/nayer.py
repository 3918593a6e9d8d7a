"""NAYER: class vectors through a noisy layer, in place of latent codes (arXiv 2310.00258).

    class vector -> BatchNorm -> noisy linear layer -> the paper's generator -> image

    L = bn * L_bn + oh * L_oh + adv * L_adv           (Eq. 1 of arXiv 2112.06253, masked L_adv)

A batch of B images of K classes has ceil(B / K) noisy layers (`core/noisy_generator.py`), drawn
from N(0, 1) before it. A new Adam trains them with generator and BatchNorm; the images of the step
with the lowest loss are kept. The generator goes on to the next batch, the noisy layers do not. At
set rounds it is drawn anew (`core/renewed_generator.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdfkd.core.methods.inner_loop import InnerLoopMethod
from fastdfkd.core.renewed_generator import RenewedGenerator
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import NAYERSynthesis


class NAYER(InnerLoopMethod):
    """Implements `Synthesizer`."""

    section: NAYERSynthesis

    def __init__(self, section: NAYERSynthesis, task: Task, index: int = 0):
        self.shared = self.shared_generator(section, task)
        super().__init__(
            section,
            task,
            index,
            self.shared.generator,
            lr_g=section.lr_g,
            lr_z=section.lr_g,
            bn_momentum=section.bn_momentum,
        )

    @classmethod
    def shared_generator(cls, section: NAYERSynthesis, task: Task) -> RenewedGenerator:
        """The generator in its initial state."""
        return RenewedGenerator(section, task)
