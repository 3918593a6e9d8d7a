"""What the recipe sections of all methods have in common."""

from __future__ import annotations

from typing import ClassVar, get_args

from pydantic import model_validator

from fastdfkd.recipe.sections import Count, Positive, Section, Weight


class SynthesisSection(Section):
    """Keys and properties of every method.

    A method's section is a subclass with `implementation`, a key `method: Literal["its name"]`
    and the method's own keys. Only the default method's `method` has a default value: the name of
    any other method must be kept where a recipe is written without its defaults.
    """

    implementation: ClassVar[str]
    """`package.module:Class` of the `Synthesizer` (`core/interfaces.py`) that the section
    configures. It is imported when the synthesizer is built: reading a recipe imports no torch."""

    rounds: Positive = 220
    """Batches synthesised in all (the paper: one an epoch)."""
    warmup_rounds: Count = 20
    """First rounds that only fill the bank: no student update, no adversarial term."""
    batch_size: Positive = 256
    """Images a round."""

    @classmethod
    def method_name(cls) -> str:
        """The value of `method` that selects this section."""
        name: str = get_args(cls.model_fields["method"].annotation)[0]
        return name

    @property
    def summary(self) -> str:
        """The method in a few words, for status screens."""
        return self.method_name()

    @property
    def bn_weight(self) -> float:
        """Weight of the loss on the teacher's BatchNorm statistics; 0: it needs none."""
        return 0.0

    @property
    def shares_generator(self) -> bool:
        """Whether several synthesizers train one generator, which the weight board then holds."""
        return False

    @model_validator(mode="after")
    def _warmup_leaves_rounds(self) -> SynthesisSection:
        if self.warmup_rounds >= self.rounds:
            raise ValueError(
                f"warmup_rounds ({self.warmup_rounds}) must be below rounds ({self.rounds}), "
                "or the student is never updated"
            )
        return self


class InversionSection(SynthesisSection):
    """Keys of methods that optimise each batch towards drawn labels (`InversionObjective`)."""

    bn: Weight = 10.0
    """Weight of the BatchNorm-statistics loss."""
    oh: Weight = 0.5
    """Weight of the one-hot cross-entropy towards the drawn labels."""
    adv: Weight = 1.33
    """Weight of the adversarial loss (off during warm-up)."""
    balanced_labels: bool = False
    """Draw labels exactly balanced over the classes instead of uniformly (not in the paper)."""
    crop_padding: Count = 4
    """Pixels of zero padding before the random crop of each synthesis step."""
    flip: bool = True
    """Random horizontal flip in each synthesis step."""

    @property
    def bn_weight(self) -> float:
        """`bn`."""
        return self.bn
