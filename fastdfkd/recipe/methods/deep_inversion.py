"""The recipe section of DeepInversion (arXiv 1912.08795)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from fastdfkd.recipe.methods.section import InversionSection
from fastdfkd.recipe.numbers import Count, Positive, Rate, Share, Weight


class DeepInversionSynthesis(InversionSection):
    """DeepInversion: the pixels of every image are optimised from noise.

    It is the reference of all speed-ups (arXiv 1912.08795).
    """

    later: ClassVar[frozenset[str]] = frozenset({"pooled_steps", "lr_warmup", "lr_decay"})
    implementation: ClassVar[str] = "fastdfkd.core.methods.deep_inversion:DeepInversion"

    method: Literal["deep_inversion"]
    """Selects this method."""
    steps: Positive = 2000
    """Adam steps on the pixels of a batch."""
    lr: Rate = 0.1
    """Learning rate of the pixels (Adam, betas 0.5 and 0.99)."""
    pooled_steps: Count = 0
    """First steps, in which both networks see the images averaged over squares of 2 x 2 pixels.
    Then the optimiser and the learning rate start anew, and the rest of `steps` see whole images:
    2000 of 3000 in the authors' code for ImageNet. The teacher must read images of half the size.
    """
    lr_warmup: Count = 0
    """Steps over which the learning rate of each resolution rises to `lr`."""
    lr_decay: Literal["none", "cosine"] = "none"
    """`cosine`: the learning rate falls to 0 over the steps of each resolution."""
    oh: Weight = 1.0
    """Weight of L_oh, the cross-entropy of the teacher with the drawn labels."""
    adv: Weight = 1.0
    """Weight of L_adv, here the Jensen-Shannon divergence between teacher and student at
    temperature 3; 0 during warm-up."""
    l2: Weight = 0.0
    """Weight of the L2 prior on the images."""
    jitter: Share = 0.125
    """Largest random shift of the batch in each direction, as a share of the image's side."""

    @model_validator(mode="after")
    def _steps_at_full_size(self) -> DeepInversionSynthesis:
        if self.pooled_steps >= self.steps:
            raise ValueError(
                f"pooled_steps ({self.pooled_steps}) must be below steps ({self.steps}): the last "
                "steps are at full size"
            )
        return self

    def shortened(self, *, steps: int, batch_size: int) -> Self:
        """As for every method; the steps that are left are at full size, which cost most."""
        short = super().shortened(steps=steps, batch_size=batch_size)
        return short.model_copy(update={"pooled_steps": 0})

    def lr_of(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        pooled = step < self.pooled_steps
        count = self.pooled_steps if pooled else self.steps - self.pooled_steps
        place = step if pooled else step - self.pooled_steps
        rate = self.lr * min((place + 1) / (self.lr_warmup + 1), 1.0)
        if self.lr_decay == "cosine":
            rate *= (1 + math.cos(math.pi * min(place / count, 1.0))) / 2
        return rate

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
