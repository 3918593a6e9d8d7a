"""Attention maps and their loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastdfkd.core.attention import attention_loss, attention_map
from fastdfkd.core.sample_buffer import SampleBuffer

from . import parts
from .student_parts import distillation, distiller


def plain_map(maps: Tensor) -> Tensor:
    """By the definition, image by image."""
    rows = []
    for image in maps:
        squares = [sum(pixel**2) / len(pixel) for pixel in image.flatten(1).T]
        row = torch.stack(squares)
        rows.append(row / (row**2).sum().sqrt())
    return torch.stack(rows)


@pytest.mark.usefixtures("float64")
def test_the_loss_is_the_definition() -> None:
    teacher = [torch.randn(3, 4, 5, 2), torch.randn(3, 6, 2, 2)]
    student = [torch.randn(3, 2, 5, 2), torch.randn(3, 1, 2, 2)]
    expected = sum(
        (plain_map(t) - plain_map(s)).square().mean() for t, s in zip(teacher, student, strict=True)
    )
    ours = [[attention_map(each) for each in side] for side in (teacher, student)]
    torch.testing.assert_close(attention_loss(*ours), torch.as_tensor(expected))


def test_an_update_adds_the_term() -> None:
    """The weight decides how much: the loss is affine in it."""
    bank = SampleBuffer(12, parts.IMAGE_SHAPE)
    bank.extend(torch.randint(256, (12, *parts.IMAGE_SHAPE), dtype=torch.uint8))
    losses, students = [], []
    for weight in (0.0, 1.0, 3.0):
        ours = distiller(distillation(attention=weight))
        losses.append(ours.update(bank).item())
        students.append(ours.student_state())
    assert losses[1] > losses[0]
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-3)
    assert not torch.equal(students[0]["0.weight"], students[2]["0.weight"])
