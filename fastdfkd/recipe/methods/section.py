"""Base classes of the methods' recipe sections.

A method's section is a subclass of one of them, with `implementation`, a key
`method: Literal["its name"]` and the method's own keys. Only the default method's section gives
`method` a default value: otherwise a recipe that is written without its defaults would lose the
method's name.

Symbols (`bn`, `oh`, `adv`) are those of arXiv 2112.06253, Sec. 3 and 4, "the paper".
"""

from __future__ import annotations

from typing import ClassVar, Self, get_args

from pydantic import model_validator

from fastdfkd.recipe.sections import Count, Positive, Section, Weight


class SynthesisSection(Section):
    """Keys of every method: how many images are made, and in which batches."""

    implementation: ClassVar[str]
    """`package.module:Class` of the `Synthesizer` (`core/interfaces.py`) that the section
    configures. It is imported when the synthesizer is built; reading a recipe imports no torch."""

    rounds: Positive = 220
    """Batches of images synthesised in the whole run, one a round (an epoch of the paper)."""
    warmup_rounds: Count = 20
    """First rounds, which only fill the bank: no student update and no adversarial loss."""
    batch_size: Positive = 256
    """Images synthesised in a round."""

    @classmethod
    def method_name(cls) -> str:
        """The value of `method` that selects this section."""
        name: str = get_args(cls.model_fields["method"].annotation)[0]
        return name

    @property
    def summary(self) -> str:
        """The method in a few words, for the status screen."""
        return self.method_name()

    @property
    def bn_weight(self) -> float:
        """Weight of the loss on the teacher's BatchNorm statistics; 0: it needs none."""
        return 0.0

    @property
    def shares_generator(self) -> bool:
        """Whether several synthesizers train one generator together, on the weight board."""
        return False

    @property
    def steps_per_batch(self) -> int:
        """Optimisation steps of a batch; 1 for a method without `steps`."""
        steps: int = getattr(self, "steps", 1)
        return steps

    def shortened(self, *, steps: int, batch_size: int) -> Self:
        """A copy with no more than these steps and images of a batch, to measure what they cost."""
        most = {"steps": steps, "batch_size": batch_size}
        return self.model_copy(
            update={
                key: min(getattr(self, key), value)
                for key, value in most.items()
                if key in type(self).model_fields
            }
        )

    @model_validator(mode="after")
    def _warmup_leaves_rounds(self) -> SynthesisSection:
        if self.warmup_rounds >= self.rounds:
            raise ValueError(
                f"warmup_rounds ({self.warmup_rounds}) must be below rounds ({self.rounds}), "
                "or the student is never updated"
            )
        return self


class InversionSection(SynthesisSection):
    """Keys of the methods that minimise bn * L_bn + oh * L_oh + adv * L_adv on each batch."""

    bn: Weight = 10.0
    """Weight of L_bn, the distance between the teacher's BatchNorm statistics on the batch and the
    running ones. Above 0 the teacher needs BatchNorm layers."""
    oh: Weight = 0.5
    """Weight of L_oh, the cross-entropy of the teacher with the drawn labels."""
    adv: Weight = 1.33
    """Weight of L_adv, the adversarial loss between teacher and student; 0 during warm-up."""
    balanced_labels: bool = False
    """Draw each class equally often instead of uniformly at random (not in the paper)."""
    crop_padding: Count = 4
    """Pixels of zero padding before the random crop of each synthesis step."""
    flip: bool = True
    """Random horizontal flip in each synthesis step."""

    @property
    def bn_weight(self) -> float:
        """`bn`."""
        return self.bn
