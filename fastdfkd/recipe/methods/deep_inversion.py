"""The recipe section of DeepInversion (arXiv 1912.08795)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.section import InversionSection
from fastdfkd.recipe.numbers import Positive, Rate, Share, Weight


class DeepInversionSynthesis(InversionSection):
    """DeepInversion: the pixels of every image are optimised from noise.

    It is the reference of all speed-ups (arXiv 1912.08795).
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.deep_inversion:DeepInversion"

    method: Literal["deep_inversion"]
    """Selects this method."""
    steps: Positive = 2000
    """Adam steps on the pixels of a batch."""
    lr: Rate = 0.1
    """Learning rate of the pixels (Adam, betas 0.5 and 0.99)."""
    oh: Weight = 1.0
    """Weight of L_oh, the cross-entropy of the teacher with the drawn labels."""
    adv: Weight = 1.0
    """Weight of L_adv, here the Jensen-Shannon divergence between teacher and student at
    temperature 3; 0 during warm-up."""
    l2: Weight = 0.0
    """Weight of the L2 prior on the images."""
    jitter: Share = 0.125
    """Largest random shift of the batch in each direction, as a share of the image's side."""

    @property
    def summary(self) -> str:
        """The method and its number of steps."""
        return f"{self.method}, {self.steps} steps"

    @property
    def suspects(self) -> list[str]:
        """The pixels' learning rate first."""
        found = []
        if self.lr > 1:
            found.append(f"synthesis.lr is {self.lr:g}, and may saturate the pixels: set it to 0.1")
        return found + super().suspects
