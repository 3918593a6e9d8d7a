"""The recipe section of CMI (arXiv 2105.08584)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fastdfkd.recipe.methods.generator_section import GeneratorSection
from fastdfkd.recipe.methods.section import AutoWeight
from fastdfkd.recipe.numbers import Count, Positive, Rate, Real, Weight


class CMISynthesis(GeneratorSection):
    """CMI: a new generator for every batch, and a contrastive term that makes images differ.

    "The paper" is arXiv 2105.08584. Defaults are those of the comparison in arXiv 2112.06253.
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.cmi:CMISynthesizer"

    method: Literal["cmi"]
    """Selects this method."""
    warmup_rounds: Count = 0
    """First rounds, which only fill the bank: no student update and no adversarial loss."""
    steps: Positive = 500
    """Adam steps on each batch."""
    lr: Rate = 1e-3
    """Learning rate of generator and latent codes (Adam, betas 0.5 and 0.999)."""
    bn: AutoWeight = 1.0
    """Weight of L_bn; see `fast`."""
    oh: Weight = 1.0
    """Weight of L_oh, the cross-entropy of the teacher with the drawn labels."""
    adv: Weight = 0.5
    """Weight of L_adv, the adversarial loss between teacher and student; 0 during warm-up."""
    cr: Weight = 0.8
    """Weight of the contrastive term. 0: no head, no memory and no second view."""
    cr_temperature: Rate = 0.2
    """Temperature of the contrastive term (0.1 in the paper's own runs)."""
    features: Literal["norms", "stages"] = "norms"
    """What of the teacher the contrastive term compares: spatial means of the inputs of all layers
    with running statistics, or of the last map of each size that a layer reads (8,512 and 1,472
    numbers of an image for a ResNet-34). A teacher without such layers: as `stages`."""
    memory: Positive = 40_960
    """Images of earlier batches whose features are kept, of each synthesizer."""
    memory_draws: Positive = 4096
    """Images of the memory that a step compares with, drawn without replacement."""
    head_lr: Rate = 1e-3
    """Learning rate of the projection head (Adam), which is never reset."""
    local_scale: Annotated[Real, Field(gt=0, le=1)] = 0.25
    """Smallest share of an image's area in the local view, which is resized and perhaps flipped."""
    latent_dim: Positive = 256
    """Length of a latent code z."""
    generator_width: Positive = 64
    """Channels of the generator's last hidden layer; the layers before have twice as many."""
    output_norm: bool = False
    """Add a BatchNorm before the generator's sigmoid (not in the paper)."""

    @property
    def summary(self) -> str:
        """The method and its number of steps."""
        return f"{self.method}, {self.steps} steps"

    @property
    def suspects(self) -> list[str]:
        """The generator's learning rate first."""
        found = []
        if self.lr > 0.03:
            found.append(
                f"synthesis.lr is {self.lr:g}, and may saturate the generator: set it to 1e-3"
            )
        return found + super().suspects
