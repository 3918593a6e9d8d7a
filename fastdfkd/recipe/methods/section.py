"""Base classes of the methods' recipe sections.

A method's section is a subclass of one of them, with `implementation`, a key
`method: Literal["its name"]` and the method's own keys. Only the default method's section gives
`method` a default value: otherwise a recipe that is written without its defaults would lose the
method's name.

Symbols (`bn`, `oh`, `adv`) are those of arXiv 2112.06253, Sec. 3 and 4, "the paper".
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import TypeAdapter, ValidationError, WrapValidator, model_validator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from fastdfkd.recipe.image_input import TaskName
from fastdfkd.recipe.methods.teacher_traits import TeacherTraits
from fastdfkd.recipe.numbers import Count, Positive, Share, Weight
from fastdfkd.recipe.section import Section
from fastdfkd.text.shown import shown

BN_WEIGHT = 10.0
"""Weight of L_bn that `auto` means for a teacher with statistics."""
_NUMBER: TypeAdapter[float] = TypeAdapter(Weight)


def _auto_or_number(value: Any, _: ValidatorFunctionWrapHandler) -> Any:
    """One error for a bad value; a union would give one for each of its types."""
    if value == "auto":
        return value
    try:
        return _NUMBER.validate_python(value)
    except ValidationError:
        if isinstance(value, str):
            raise ValueError(f"expected a number or auto, got {shown(value)}") from None
        raise


StatisticsForm = Literal["norms", "relative", "gaussians"]
"""Forms of L_bn (`core/bn_statistics.py`)."""
AutoWeight = Annotated[Weight | Literal["auto"], WrapValidator(_auto_or_number)]


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
    def vectors_file(self) -> str | None:
        """Path of the file of class vectors; None: the method reads none."""
        return None

    @property
    def is_open(self) -> bool:
        """Whether a key is `auto`, so that its value depends on the teacher."""
        return False

    @property
    def priors(self) -> dict[str, float]:
        """The priors of positive weight by their key."""
        return {}

    def settled(self, traits: TeacherTraits) -> SynthesisSection:
        """This section with a value for every `auto`, chosen for a teacher."""
        return self

    def without_student(self) -> Self:
        """A section whose images do not depend on a student.

        Raises:
            ValueError: the method needs one.
        """
        raise ValueError(
            f"synthesis.method {self.method_name()} makes images against a student: images without "
            "a student need another method, such as fast or cmi"
        )

    @property
    def shares_generator(self) -> bool:
        """Whether several synthesizers train one generator together, on the weight board."""
        return False

    def misfit(self, task: TaskName) -> str:
        """Why the method cannot be used for a task, with what to do; "" if it can."""
        return ""

    @property
    def has_steps(self) -> bool:
        """Whether the key `steps` says how many optimisation steps a batch has."""
        return "steps" in type(self).model_fields

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

    @property
    def suspects(self) -> list[str]:
        """Unusual values of the section that may make images collapse, likeliest first.

        Each is a clause with the key, its value and what to do.
        """
        return []

    @model_validator(mode="after")
    def _warmup_leaves_rounds(self) -> SynthesisSection:
        if self.warmup_rounds >= self.rounds:
            raise ValueError(
                f"warmup_rounds ({self.warmup_rounds}) must be below rounds ({self.rounds}), "
                "or the student is never updated"
            )
        return self


class InversionSection(SynthesisSection):
    """Keys of the methods that minimise a weighted sum of losses on each batch."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            *("confidence", "balance", "activation", "patch_drop", "patch_size", "statistics"),
            *("labels", "label_block", "balance_over"),
        }
    )
    bn: AutoWeight = BN_WEIGHT
    """Weight of L_bn, the distance between the teacher's running statistics and those of the batch.
    Above 0 the teacher needs BatchNorm layers. `auto`: 10 if it has such layers, else 0. The
    priors below can stand in for them (`docs/without-statistics.md`)."""
    statistics: StatisticsForm = "norms"
    """That distance. `norms`: the paper's sum of norms, which grows with the number, the width and
    the scale of the teacher's layers. `relative`: in units of the running deviations, a mean over
    layers. `gaussians`: DFQ's divergence of normal distributions, summed over all channels."""
    oh: Weight = 0.5
    """Weight of L_oh, the cross-entropy of the teacher with the labels."""
    labels: Literal["drawn", "teacher"] = "drawn"
    """The labels of L_oh. `drawn`: at random before the first step. `teacher`: the classes that the
    teacher predicts in each step, as in DAFL; for maps of classes, of which drawn ones look like no
    scene ([segmentation](segmentation.md))."""
    label_block: Positive = 1
    """Side in pixels of the squares of one class in drawn maps. 1: each pixel has a class of its
    own. No effect with one class for each image."""
    adv: Weight = 1.33
    """Weight of L_adv, the adversarial loss between teacher and student; 0 during warm-up."""
    confidence: Weight = 0.0
    """Weight of the mean entropy of the teacher's answers in nats: images of a clear class."""
    balance: Weight = 0.0
    """Weight of minus the entropy of the teacher's mean answer: a batch of all classes."""
    activation: Weight = 0.0
    """Weight of minus the mean absolute value of what the teacher's last layer reads."""
    tv: Weight = 0.0
    """Weight of the total variation of the images: smooth images."""
    patch_drop: Share = 0.0
    """Share of the patches of every image that both networks see replaced by the mean colour, drawn
    anew in each step. For transformers: no small part of the image may carry the class alone."""
    patch_size: Positive | None = None
    """Side of these patches in pixels. Unset: 4."""
    balanced_labels: bool = False
    """Draw each class equally often instead of uniformly at random (not in the paper)."""
    balance_over: Literal["batch", "rounds"] = "batch"
    """What `balanced_labels` balances. `batch`: the labels of each batch. `rounds`: those of all
    rounds; the labels run through all classes in a drawn order before any comes again. For more
    classes than a batch has images. Only with one class for each image."""
    crop_padding: Count = 4
    """Pixels of zero padding before the random crop of each synthesis step."""
    flip: bool = True
    """Random horizontal flip in each synthesis step."""

    @model_validator(mode="after")
    def _balance_has_labels(self) -> InversionSection:
        if self.balance_over == "rounds" and not self.balanced_labels:
            raise ValueError("balance_over: rounds needs balanced_labels: true")
        return self

    @property
    def bn_weight(self) -> float:
        """`bn`; 0 for `auto`, which needs no statistics."""
        return 0.0 if self.bn == "auto" else self.bn

    @property
    def is_open(self) -> bool:
        """Whether `bn` is `auto`."""
        return self.bn == "auto"

    def settled(self, traits: TeacherTraits) -> SynthesisSection:
        """With a number as `bn`, and a transformer's patch size, if `bn` was `auto`."""
        if self.bn != "auto":
            return self
        if traits.statistics:
            return self.model_copy(update={"bn": BN_WEIGHT})
        return self.model_copy(update={"bn": 0.0, "patch_size": self.patch_size or traits.patch})

    def without_student(self) -> Self:
        """Without the adversarial term."""
        return self.model_copy(update={"adv": 0.0})

    @property
    def priors(self) -> dict[str, float]:
        """The priors of positive weight, and the share of dropped patches if it is positive."""
        keys = ("confidence", "balance", "activation", "tv", "patch_drop")
        return {key: getattr(self, key) for key in keys if getattr(self, key) > 0}

    @property
    def suspects(self) -> list[str]:
        """The weights of the loss that are far from the paper's."""
        found, bn = [], self.bn_weight
        if self.oh < 0.01:
            found.append(f"synthesis.oh is {self.oh:g}, so no class is asked for: set it to 0.5")
        if bn == 0 and not self.priors:
            found.append(
                "synthesis.bn is 0, so the images need not have the teacher's statistics: set it "
                "to 10 if the teacher has any"
            )
        if bn > 100:
            found.append(f"synthesis.bn is {bn:g}, and outweighs the other terms: set it to 10")
        if self.adv > 10:
            found.append(f"synthesis.adv is {self.adv:g}, and outweighs the others: set it to 1")
        return found
