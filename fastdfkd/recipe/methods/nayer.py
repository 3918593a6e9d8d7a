"""The recipe section of NAYER (arXiv 2310.00258)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.generator_section import GeneratorSection
from fastdfkd.recipe.numbers import Count, Positive, Rate, Share


class NAYERSynthesis(GeneratorSection):
    """NAYER: vectors of classes, through random layers, in place of latent codes.

    "The paper" is arXiv 2310.00258. Defaults are its schedule for CIFAR-10: 20 warm-up epochs of 10
    batches, then 100 epochs of 2. A round is a batch.
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.nayer:NAYER"

    method: Literal["nayer"]
    """Selects this method."""
    rounds: Positive = 400
    """Batches of images synthesised in the whole run."""
    warmup_rounds: Count = 200
    """First rounds, which only fill the bank: no student update and no adversarial loss."""
    batch_size: Positive = 400
    """Images synthesised in a round; a multiple of the number of classes has all equally often."""
    balanced_labels: bool = True
    """Draw each class equally often, up to one."""
    codes: Literal["noise", "classes"] = "classes"
    """What the generator reads; `noise` is an ablation."""
    steps: Positive = 30
    """Adam steps of a batch; 40 for CIFAR-100 in the paper."""
    lr_g: Rate = 4e-3
    """Learning rate of generator and noisy layers (Adam, betas 0.5 and 0.999)."""
    bn_momentum: Share = 0.9
    """Share of the running estimate from earlier batches in the BatchNorm statistics of L_bn; 0
    uses the batch alone."""
    renew_every: Positive | None = 20
    """Rounds past warm-up after which the generator is drawn anew, again and again: 10 epochs in
    the paper. `null`: never, apart from the end of warm-up."""
    warmup_renew_every: Positive | None = 100
    """The same during warm-up. `null`: never."""
    latent_dim: Positive = 1000
    """Length of what a noisy layer puts out."""
    generator_width: Positive = 64
    """Channels of the generator's last hidden layer; the layers before have twice as many."""
    invert: bool = False
    """Replace random images x in [0, 1] by 1 - x in each synthesis step (not in the paper)."""
    output_norm: bool = False
    """Add a BatchNorm before the generator's sigmoid (not in the paper)."""

    def life_of(self, round: int) -> int:
        """How often the generator was drawn anew before a round, the start apart."""
        warmup, every = self.warmup_rounds, self.renew_every
        if round < warmup:
            return round // (self.warmup_renew_every or warmup)
        first = -(-warmup // (self.warmup_renew_every or warmup)) if warmup else 0
        return first + ((round - warmup) // every if every else 0)

    @property
    def summary(self) -> str:
        """The method and its number of steps."""
        return f"{self.method}, {self.steps} steps"

    @property
    def suspects(self) -> list[str]:
        """The generator's learning rate first."""
        found = []
        if self.lr_g > 0.04:
            found.append(
                f"synthesis.lr_g is {self.lr_g:g}, and may saturate the generator: set it to 4e-3"
            )
        return found + super().suspects

    @property
    def shares_generator(self) -> bool:
        """True: several synthesizers train one generator."""
        return True
