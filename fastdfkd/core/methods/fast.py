"""FastDFKD's synthesizer (Algorithm 1 of arXiv 2112.06253).

A batch is made by a few Adam steps on a copy of the meta-generator and on the latent codes. The
meta-generator then learns from the gradients or the weights of the copy (`core/meta_gradient.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdfkd.core.drawn_generator import class_vectors
from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.core.methods.inner_loop import InnerLoopMethod
from fastdfkd.core.methods.kept_codes import KeptCodes
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import FastSynthesis


class FastSynthesizer(InnerLoopMethod):
    """Implements `Synthesizer`."""

    section: FastSynthesis

    def __init__(self, section: FastSynthesis, task: Task, index: int = 0):
        self.shared = self.meta = self.shared_generator(section, task)
        super().__init__(
            section,
            task,
            index,
            self.meta.generator,
            lr_g=section.lr_g,
            lr_z=section.lr_z,
            bn_momentum=section.bn_momentum,
        )
        self.codes = KeptCodes(section.keep_codes, task.device)

    @classmethod
    def shared_generator(cls, section: FastSynthesis, task: Task) -> MetaGenerator:
        """The meta-generator in its initial state."""
        vectors = class_vectors(section, task)
        return MetaGenerator(section, task.image_shape, task.seed, task.device, vectors)
