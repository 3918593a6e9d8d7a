"""The recipe section of FastDFKD (arXiv 2112.06253)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.section import InversionSection
from fastdfkd.recipe.sections import Positive, Rate, Share


class FastSynthesis(InversionSection):
    """FastDFKD: a few Adam steps on a copy of a meta-learned generator and on z."""

    implementation: ClassVar[str] = "fastdfkd.core.methods.fast:FastSynthesizer"

    method: Literal["fast"] = "fast"
    steps: Positive = 5
    """k, inner Adam steps a batch (2, 5, 10 in the paper)."""
    lr_g: Rate = 3e-3
    """Inner learning rate of the generator copy."""
    lr_z: Rate = 0.01
    """Inner learning rate of the latent codes."""
    bn_momentum: Share = 0.9
    """Share of the running estimate in the BatchNorm statistics; 0 uses the batch alone."""
    meta: Literal["fomaml", "reptile", "sequential", "none"] = "fomaml"
    """How the generator is shared between batches; the last two are the paper's ablations."""
    meta_lr: Rate | None = None
    """Meta learning rate; unset: `lr_g * steps`."""
    reptile_scale: Rate = 67.0
    """c in Reptile's gradient c * (theta - theta'_k)."""
    reset_after: Positive | None = 120
    """Batches past warm-up after which the generator's first layers are re-initialised once."""
    latent_dim: Positive = 256
    """nz, length of a latent code."""
    generator_width: Positive = 64
    """ngf, channels of the generator's last hidden layer (twice that before it)."""
    invert: bool = False
    """Random inversion, white for black, in each synthesis step (not in the paper): for what means
    the same in dark on light and light on dark, as letters do."""
    output_norm: bool = False
    """A BatchNorm before the generator's sigmoid (not in the paper): images stay off the ends of
    their range, where a whole bank may end up in two or three colours."""

    @property
    def summary(self) -> str:
        """Method and number of inner steps."""
        return f"{self.method}, {self.steps} steps"

    @property
    def shares_generator(self) -> bool:
        """Whether there is anything to share: not where each batch has a generator of its own."""
        return self.meta != "none"
