"""A small student's distiller, its naive counterpart, and a bank for both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.random_streams import stream
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import DistillationSection

from . import naive_student, parts


def distillation(**changes: Any) -> DistillationSection:
    values = {
        "updates_per_round": 3,
        "batch_size": 6,
        "lr": 0.02,
        "min_lr": 1e-3,
        "weight_decay": 1e-2,
        "temperature": 2.0,
        "crop_padding": 2,
    }
    return DistillationSection(**{**values, **changes})


def distiller(
    section: DistillationSection,
    total_updates: int = 12,
    rank: int = 0,
    world_size: int = 1,
    **more: Any,
) -> StudentDistiller:
    where = {"rank": rank, "world_size": world_size}
    return StudentDistiller(section, parts.task(**more), total_updates=total_updates, **where)


def naive_distiller(section: DistillationSection, rounds: int) -> naive_student.Distiller:
    return naive_student.Distiller(
        parts.teacher(),
        parts.student(),
        lr=section.lr,
        min_lr=section.min_lr,
        momentum=section.momentum,
        weight_decay=section.weight_decay,
        temperature=section.temperature,
        padding=section.crop_padding,
        rounds=rounds,
        mean=parts.column(parts.MEAN),
        std=parts.column(parts.STD),
    )


def drawn(
    section: DistillationSection, held: Tensor, update: int, rank: int = 0, share: int | None = None
) -> tuple[Tensor, Augmentation]:
    """Images and moves of an update: the bank draws first, then the augmentation."""
    randomness = stream(parts.SEED, "distillation", update, rank)
    count = share or section.batch_size
    index = torch.randint(len(held), (count,), generator=randomness)
    move = Augmentation.draw(count, section.crop_padding, section.flip, section.invert, randomness)
    return held[index], move


def filled_bank(count: int = 20) -> tuple[SampleBuffer, Tensor]:
    randomness = torch.Generator().manual_seed(4)
    shape = (count, *parts.IMAGE_SHAPE)
    held = torch.randint(0, 256, shape, dtype=torch.uint8, generator=randomness)
    bank = SampleBuffer(count, parts.IMAGE_SHAPE)
    bank.extend(held)
    return bank, held
