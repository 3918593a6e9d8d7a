"""The recipe section of FastDFKD (arXiv 2112.06253)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.generator_section import GeneratorSection
from fastdfkd.recipe.numbers import Positive, Rate, Share


class FastSynthesis(GeneratorSection):
    """FastDFKD: a few Adam steps on a copy of a meta-learned generator and on the latent codes z.

    "The paper" is arXiv 2112.06253.
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.fast:FastSynthesizer"
    later: ClassVar[frozenset[str]] = frozenset({"tv"})

    method: Literal["fast"] = "fast"
    """Selects this method."""
    steps: Positive = 5
    """k, inner Adam steps of a batch (2, 5 or 10 in the paper)."""
    lr_g: Rate = 3e-3
    """Inner learning rate of the generator's copy."""
    lr_z: Rate = 0.01
    """Inner learning rate of the latent codes."""
    bn_momentum: Share = 0.9
    """Share of the running estimate from earlier batches in the BatchNorm statistics of L_bn; 0
    uses the batch alone."""
    meta: Literal["fomaml", "reptile", "sequential", "none"] = "fomaml"
    """How the generator learns from a batch; the last two are the paper's ablations: go on from the
    copy as it is, or draw a new generator for each batch."""
    meta_lr: Rate | None = None
    """Learning rate of the meta-update. Unset: `lr_g * steps`."""
    reptile_scale: Rate = 67.0
    """c in Reptile's meta-gradient c * (theta - theta'_k)."""
    reset_after: Positive | None = 120
    """Rounds past warm-up after which the generator's first layers are re-initialised, once.
    `null`: never."""
    latent_dim: Positive = 256
    """nz, length of a latent code z."""
    generator_width: Positive = 64
    """ngf, channels of the generator's last hidden layer; the layers before have twice as many."""
    invert: bool = False
    """Replace random images x in [0, 1] by 1 - x in each synthesis step (not in the paper). For
    images whose class does not depend on which of two colours is the darker, such as letters."""
    output_norm: bool = False
    """Add a BatchNorm before the generator's sigmoid (not in the paper). Without it the pixels may
    saturate at 0 and 1, so that the whole bank has two or three colours."""

    @property
    def summary(self) -> str:
        """The method and its number of inner steps."""
        return f"{self.method}, {self.steps} steps"

    @property
    def suspects(self) -> list[str]:
        """Learning rates first: above these values the generator saturates."""
        rates = {"lr_g": (self.lr_g, 0.03), "lr_z": (self.lr_z, 0.3)}
        rates["meta_lr"] = (self.meta_lr or 0.0, 0.3)
        found = [
            f"synthesis.{key} is {rate:g}, and may saturate the generator: set it to {most / 10:g}"
            for key, (rate, most) in rates.items()
            if rate > most
        ]
        return found + super().suspects

    @property
    def shares_generator(self) -> bool:
        """True unless every batch has a new generator (`meta: none`)."""
        return self.meta != "none"
