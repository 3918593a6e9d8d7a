"""The recipe section of FastDFKD (arXiv 2112.06253)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fastdfkd.recipe.methods.generator_section import GeneratorSection
from fastdfkd.recipe.numbers import Positive, Rate, Share


class FastSynthesis(GeneratorSection):
    """FastDFKD: a few Adam steps on a copy of a meta-learned generator and on the latent codes z.

    "The paper" is arXiv 2112.06253.
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.fast:FastSynthesizer"
    later: ClassVar[frozenset[str]] = frozenset({"tv", "latent", "keep_codes", "sizes"})

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
    """nz, length of a latent code z; its channels with `latent: spatial`."""
    latent: Literal["vector", "spatial"] = "vector"
    """Form of z. `vector`: a code that a linear layer turns into a map, then two upsampling stages
    (the paper's CIFAR generator). `spatial`: a map of 1/16 of the image's height and width, then
    four upsampling stages (its ImageNet generator). Needs `codes: noise`, no `channel_exchange` and
    no `reset_after`."""
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """Sides in pixels of the square images that rounds are made at, in turn, such as `[112, 160]`.
    Both networks see them in this size while they are made, so a step costs less by about the
    square. Finished images are resized to `input.shape`. Multiples of 16, with `latent: spatial`.
    Unset: `input.shape` (as in the paper)."""
    keep_codes: Positive | None = None
    """Rounds in which a synthesizer goes on with the latent codes of its round before, as they were
    after its last step. Then it draws new ones, and the meta-optimiser starts anew: 50 in the
    paper's code for ImageNet. Unset: every round draws new codes."""
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

    @model_validator(mode="after")
    def _the_latent_fits(self) -> FastSynthesis:
        if self.latent == "vector":
            if self.sizes is not None:
                raise ValueError("sizes needs latent: spatial, whose weights fit every size")
            return self
        if any(side % 16 for side in self.sizes or ()):
            raise ValueError(f"sizes must be multiples of 16, got {list(self.sizes or ())}")
        unfit = {
            "codes: classes": self.codes == "classes",
            "channel_exchange": self.channel_exchange > 0,
            "reset_after": self.reset_after is not None,
        }
        for key, given in unfit.items():
            if given:
                raise ValueError(
                    f"latent: spatial has no {key}: there is no first linear layer, and channel "
                    "exchange knows the stages of the other generator. Set codes to noise, "
                    "channel_exchange to 0 and reset_after to null"
                )
        return self

    @model_validator(mode="after")
    def _kept_codes_are_noise(self) -> FastSynthesis:
        if self.keep_codes is not None and self.codes == "classes":
            raise ValueError(
                "keep_codes goes on with latent codes, and codes: classes draws a layer for each "
                "batch instead: unset keep_codes, or set codes to noise"
            )
        return self

    def side_of(self, round: int) -> int | None:
        """Side of the images of a round while they are made; None: that of `input.shape`."""
        return None if self.sizes is None else self.sizes[round % len(self.sizes)]

    @property
    def shares_generator(self) -> bool:
        """True unless every batch has a new generator (`meta: none`)."""
        return self.meta != "none"
