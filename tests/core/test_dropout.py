"""Students with dropout, and students whose norms are frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.random_streams import seeded_on
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import DistillationSection

from . import parts


def distiller(seed: int = 0, **changes: Any) -> StudentDistiller:
    section = DistillationSection(
        updates_per_round=5, batch_size=8, lr=0.02, crop_padding=0, **changes
    )
    student = nn.Sequential(parts.student(), nn.Dropout(0.5))
    return StudentDistiller(section, parts.task(student=student, seed=seed), total_updates=40)


def bank() -> SampleBuffer:
    shape = (20, *parts.IMAGE_SHAPE)
    held = SampleBuffer(20, parts.IMAGE_SHAPE)
    randomness = torch.Generator().manual_seed(4)
    held.extend(torch.randint(0, 256, shape, dtype=torch.uint8, generator=randomness))
    return held


def test_updates_are_repeated_whatever_was_drawn_elsewhere() -> None:
    first, second, images = distiller(), distiller(), bank()
    for _ in range(3):
        torch.manual_seed(1)
        ours = first.update(images)
        torch.manual_seed(2)
        assert torch.equal(second.update(images), ours)
    states = first.module.state_dict(), second.module.state_dict()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_each_update_drops_others() -> None:
    dropped = []
    for number in range(3):
        with seeded_on("cpu", 0, "dropout", number, 0):
            dropped.append(nn.functional.dropout(torch.ones(100)))
    assert not torch.equal(dropped[0], dropped[1])
    assert not torch.equal(dropped[1], dropped[2])


def test_draws_of_others_continue_as_if_there_had_been_no_update() -> None:
    pupil, images = distiller(), bank()
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    pupil.update(images)
    assert torch.equal(torch.rand(5), expected)


def test_frozen_norms_keep_their_statistics_and_nothing_is_dropped() -> None:
    pupil, images = distiller(frozen_norms=True), bank()
    start = {name: value.clone() for name, value in pupil.module.state_dict().items()}
    for _ in range(3):
        pupil.update(images)
    assert not any(module.training for module in pupil.module.modules())
    buffers = dict(pupil.module.named_buffers())
    assert buffers
    assert all(torch.equal(value, start[name]) for name, value in buffers.items())
    weights = dict(pupil.module.named_parameters())
    assert all(not torch.equal(value, start[name]) for name, value in weights.items())
    other = distiller(frozen_norms=True)
    dropout = other.module[-1]
    assert isinstance(dropout, nn.Dropout)
    dropout.p = 0.9
    for _ in range(3):
        other.update(images)
    assert all(torch.equal(value, weights[name]) for name, value in other.module.named_parameters())
