"""Base class of the sections of the methods that train one generator throughout the run."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from fastdfkd.recipe.methods.section import SynthesisSection
from fastdfkd.recipe.numbers import Count, Positive, Rate, Weight


class GenerativeSection(SynthesisSection):
    """Keys of the methods that train one generator throughout the run.

    A round is `generator_steps` Adam steps of the generator, then `batch_size` new images from it.
    The defaults are those of the comparison in the FastDFKD paper's code: a generator step for five
    student updates, each on a fresh batch of 256 images, without augmentation.
    """

    rounds: Positive = 16_000
    """Rounds of the whole run: generator steps, images, student updates."""
    warmup_rounds: Count = 0
    """First rounds, which train the generator alone, without its adversarial term."""
    batch_size: Positive = 1280
    """Images of a round, all from the generator as it is after the round's steps."""
    generator_steps: Positive = 1
    """Adam steps of the generator in a round."""
    generator_batch_size: Positive = 256
    """Images of a generator step. The images of a round are generated in parts of this size: the
    generator's BatchNorm uses the statistics of a part."""
    lr_g: Rate = 1e-3
    """Learning rate of the generator (Adam, betas 0.5 and 0.999)."""
    lr_decay: Literal["none", "cosine"] = "none"
    """`cosine`: the rate of the generator falls to 0 over the rounds of the run."""
    latent_dim: Positive = 256
    """Length of a latent code z."""
    generator_width: Positive = 64
    """Channels of the generator's last hidden layer; the layers before have twice as many."""
    output_norm: bool = False
    """Add a BatchNorm before the generator's sigmoid."""
    bn: Weight = 0.0
    """Weight of the distance between the teacher's running statistics and those of a step's images.
    Above 0 the teacher needs BatchNorm layers."""
    oh: Weight = 0.0
    """Weight of the cross-entropy of the teacher with its own most likely classes."""
    adv: Weight = 0.0
    """Weight of the adversarial term, minus a distance between teacher and student."""
    confidence: Weight = 0.0
    """Weight of the mean entropy of the teacher's answers in nats: images of a clear class."""
    balance: Weight = 0.0
    """Weight of minus the entropy of the teacher's mean answer in nats: images of all classes."""
    activation: Weight = 0.0
    """Weight of minus the mean absolute value of what the teacher's last layer reads."""

    @property
    def bn_weight(self) -> float:
        """`bn`."""
        return self.bn

    @property
    def priors(self) -> dict[str, float]:
        """The priors of positive weight by their key."""
        keys = ("confidence", "balance", "activation")
        return {key: getattr(self, key) for key in keys if getattr(self, key) > 0}

    @property
    def shares_generator(self) -> bool:
        """True: several synthesizers train one generator."""
        return True

    @property
    def steps_per_batch(self) -> int:
        """`generator_steps`."""
        return self.generator_steps

    def shortened(self, *, steps: int, batch_size: int) -> Self:
        """A copy with fewer steps and images; those of a step shrink in the same proportion."""
        count = min(self.batch_size, batch_size)
        of_a_step = -(-self.generator_batch_size * count // self.batch_size)
        return self.model_copy(
            update={
                "generator_steps": min(self.generator_steps, steps),
                "batch_size": count,
                "generator_batch_size": of_a_step,
            }
        )

    def without_student(self) -> Self:
        """Without the adversarial term, where another one is left.

        Raises:
            ValueError: there is none.
        """
        if self.bn or self.oh or self.priors:
            return self.model_copy(update={"adv": 0.0})
        return super().without_student()

    def lr_of(self, round: int) -> float:
        """Learning rate of the generator in a round."""
        if self.lr_decay == "none":
            return self.lr_g
        return self.lr_g * (1 + math.cos(math.pi * round / self.rounds)) / 2

    @property
    def summary(self) -> str:
        """The method and its generator steps."""
        steps = self.generator_steps
        return f"{self.method_name()}, {steps} generator step{'s' if steps > 1 else ''} a round"

    @property
    def suspects(self) -> list[str]:
        """A learning rate at which the generator saturates."""
        if self.lr_g <= 0.03:
            return []
        return [f"synthesis.lr_g is {self.lr_g:g}, and may saturate the generator: set it to 0.001"]

    @model_validator(mode="after")
    def _there_is_a_loss(self) -> GenerativeSection:
        alone = self.bn or self.oh or self.priors
        if not (alone or self.adv):
            raise ValueError(
                "no term of the generator's loss has a weight: set one of bn, oh, adv, confidence, "
                "balance and activation above 0"
            )
        if self.warmup_rounds and not alone:
            raise ValueError(
                f"warmup_rounds is {self.warmup_rounds}, but the generator has no loss in them, "
                "because adv is its only term: set warmup_rounds to 0, or one of bn, oh, "
                "confidence, balance and activation above 0"
            )
        return self
