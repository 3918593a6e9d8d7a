"""Held-out synthetic images: made from the teacher alone, to compare the student with it.

They depend on the teacher, the images' description and their number, and on no seed and no other
setting of a run. All runs of a sweep or a comparison therefore have the same ones. They are made by
FastDFKD's loop without a student, from random streams of their own, and never enter the bank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.losses import agree, kl_divergence
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.random_streams import stream, stream_seed
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods.held_out import HeldOutSynthesis

_STREAM = "judge"
PLAIN, MIXED, AUGMENTED = "synthetic", "synthetic, mixed", "synthetic, augmented"
"""Names of the three sets of images in the judge's answers."""


def held_out_images(
    settings: HeldOutSynthesis, task: Task, after_round: Callable[[], None] = lambda: None
) -> Tensor:
    """Synthesise images from a teacher without a student.

    Args:
        settings: of the synthesis, which has no adversarial term. Several meta-generators, each
            trained from new weights, share the images. The batches of a generator's warm-up are
            dropped.
        task: teacher, image shape and device. Its student is not run and its seed is not used.
        after_round: called after each batch, `settings.all_rounds` times.

    Returns:
        (settings.count, C, H, W) uint8 on the CPU.

    Raises:
        FloatingPointError: a loss became NaN or infinite.
    """
    section, kept = settings.section, []
    for number in range(settings.generators):
        own = replace(task, seed=stream_seed(0, _STREAM, number), compile=False)
        synthesizer = build_synthesizer(section, own)
        for round in range(section.rounds):
            images = synthesizer.synthesize(round).images
            if round >= section.warmup_rounds:
                kept.append(images.cpu())
            after_round()
    # Some of every generator's images, where the last batches are not needed in full.
    every = torch.stack(kept).flatten(0, 1)
    order = torch.randperm(len(every), generator=stream(0, _STREAM, "order"))
    return every[order[: settings.count]]


def views_of(images: Tensor) -> dict[str, Tensor]:
    """The images and two views of them, (N, C, H, W) uint8 each, by name.

    The mixed view is a mean of each image and another one with uniform random weights (mixup, arXiv
    1710.09412). The augmented view is shifted by at most an eighth of each side and flipped at
    random.

    Args:
        images: (N, C, H, W) uint8, on the CPU.
    """
    randomness = stream(0, _STREAM, "views")
    count = len(images)
    partner = images[torch.randperm(count, generator=randomness)]
    weight = torch.rand(count, 1, 1, 1, generator=randomness)
    mixed = (weight * images + (1 - weight) * partner).round().to(torch.uint8)
    padding = min(images.shape[2:]) // 8
    moved = Augmentation.draw(count, padding, True, False, randomness)(images)
    return {PLAIN: images, MIXED: mixed, AUGMENTED: moved}


def agreement_figures(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]
) -> dict[str, float]:
    """Figures of a student's logits on the three sets of images, beside the teacher's.

    Args:
        student: logits (N, K, *space) by the names of `views_of`.
        teacher: likewise.

    Returns:
        `agreement`, `agreement_mixed`, `agreement_augmented`, `teacher_confidence` and `coverage`
        from 0 to 1; `kl` in nats; `unseen_classes`, a number of classes. Agreement is the share of
        images, or pixels, of one class. KL(T || S) is at temperature 1, and confidence the mean
        largest probability; both, coverage and unseen classes are of the plain images. Coverage is
        the entropy of the student's predicted classes divided by the logarithm of their number.
    """
    mine, taught = student[PLAIN], teacher[PLAIN]
    classes = mine.shape[1]
    counts = torch.bincount(mine.argmax(1).flatten(), minlength=classes).double()
    shares = counts / counts.sum()
    entropy = -torch.special.xlogy(shares, shares).sum()
    return {
        "agreement": _share(mine, taught),
        "agreement_mixed": _share(student[MIXED], teacher[MIXED]),
        "agreement_augmented": _share(student[AUGMENTED], teacher[AUGMENTED]),
        "kl": max(float(kl_divergence(taught.double(), mine.double()).mean()), 0.0),
        "teacher_confidence": float(taught.double().softmax(1).amax(1).mean()),
        "coverage": abs(float(entropy)) / math.log(classes),
        "unseen_classes": float((counts == 0).sum()),
    }


def _share(first: Tensor, second: Tensor) -> float:
    return float(agree(first, second).double().mean())
