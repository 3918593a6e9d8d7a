"""What `fastdfkd check` warns of, a text for each warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastdfkd.api.estimate import Estimate
from fastdfkd.report.check_report import HeldOut
from fastdfkd.runs.environment import hardware

if TYPE_CHECKING:
    from fastdfkd.experiment import ExperimentFacts
    from fastdfkd.platform.placement import Plan

_GIB = 1024**3
_LOW_ACCURACY = 2.0
"""A teacher whose accuracy is below this multiple of chance is worth a warning."""


def of_teacher(
    about: Mapping[str, Any], facts: ExperimentFacts, held_out: HeldOut
) -> Iterator[str]:
    """About the teacher.

    Args:
        about: its description.
        facts: of the experiment.
        held_out: its figures on held-out images.
    """
    from fastdfkd.core.teacher_traits import WEAKER

    if about["source"] == "untrained":
        yield (
            "the teacher is not trained yet: distill trains it first, and accuracy and "
            "normalisation cannot be checked before. Run `fastdfkd teacher`, or set teacher.weights"
        )
    if not facts.normalisation.plausible:
        yield facts.normalisation.line
    if not facts.teacher.statistics:
        yield (
            "no layer of the teacher that runs has running statistics: images are synthesised "
            f"without L_bn. {WEAKER}"
        )
    accuracy, chance = held_out.figures.get("accuracy"), 1 / facts.teacher.logits[0]
    mean_iou = held_out.figures.get("mean_iou")
    if mean_iou is not None and mean_iou < chance:
        yield (
            f"the teacher's mIoU of {mean_iou:.1%} is that of a teacher which knows one class at "
            "most: check its weights, the order of the classes and the normalisation"
        )
    if accuracy is not None and accuracy < min(_LOW_ACCURACY * chance, 0.5 * (1 + chance)):
        yield (
            f"the teacher's accuracy of {accuracy:.1%} is hardly above chance ({chance:.1%}): "
            "check its weights, the order of the classes and the normalisation"
        )


def of_memory(plan: Plan, estimate: Estimate) -> Iterator[str]:
    """About memory, for roles that all run here on the CPU."""
    if plan.device == "cuda":
        return
    needed = (
        plan.synthesizers * estimate.synthesizer_peak_memory_bytes
        + max(plan.workers, 1) * estimate.trainer_peak_memory_bytes
        + estimate.bank_bytes
    )
    available = hardware()["memory_gib"] * _GIB
    if needed > available:
        yield (
            f"the run needs about {needed / 1e9:,.1f} GB of memory, this machine has "
            f"{available / 1e9:,.1f} GB: lower synthesis.batch_size, distillation.batch_size or "
            "bank.capacity"
        )
