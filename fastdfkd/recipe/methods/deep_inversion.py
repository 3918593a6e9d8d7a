"""The recipe section of DeepInversion (arXiv 1912.08795)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.section import InversionSection
from fastdfkd.recipe.sections import Positive, Rate, Share, Weight


class DeepInversionSynthesis(InversionSection):
    """DeepInversion (arXiv 1912.08795): every image optimised from noise. The 1x reference."""

    implementation: ClassVar[str] = "fastdfkd.core.methods.deep_inversion:DeepInversion"

    method: Literal["deep_inversion"]
    steps: Positive = 2000
    """Adam steps on the pixels of each batch."""
    lr: Rate = 0.1
    """Learning rate of the pixels (Adam, betas 0.5 and 0.99)."""
    bn: Weight = 10.0
    oh: Weight = 1.0
    adv: Weight = 1.0
    tv: Weight = 0.0
    """Weight of the total-variation prior."""
    l2: Weight = 0.0
    """Weight of the L2 prior on the images."""
    jitter: Share = 0.125
    """Largest random roll of an image in each direction, as a share of its side."""

    @property
    def summary(self) -> str:
        """Method and number of steps."""
        return f"{self.method}, {self.steps} steps"
