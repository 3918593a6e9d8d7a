"""The recipe section of ZSKT (arXiv 1905.09768)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from fastdfkd.recipe.methods.generative import GenerativeSection
from fastdfkd.recipe.numbers import Weight


class ZSKTSynthesis(GenerativeSection):
    """ZSKT: a generator that maximises KL(teacher || student), which the student minimises.

    The student's attention term is `distillation.attention` (arXiv 1905.09768).
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.zskt:ZSKT"

    method: Literal["zskt"]
    """Selects this method."""
    adv: Weight = 1.0
    """Weight of minus the mean KL(teacher || student). Adam makes its size immaterial while no
    other term has a weight."""
    same_noise: bool = False
    """Make the images of a round from the noise of its last generator step, as in ZSKT's own code.
    `batch_size` must then be `generator_batch_size`."""

    @model_validator(mode="after")
    def _the_noise_suffices(self) -> ZSKTSynthesis:
        if self.same_noise and self.batch_size != self.generator_batch_size:
            raise ValueError(
                f"with same_noise the images of a round are those of a generator step: batch_size "
                f"({self.batch_size}) must be generator_batch_size ({self.generator_batch_size})"
            )
        return self
