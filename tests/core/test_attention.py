"""Attention maps and their loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.attention import StageMaps, attention_loss, attention_map, common_stages
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


def test_the_last_map_of_each_size_is_compared() -> None:
    network = parts.teacher()
    stages = StageMaps(network, parts.IMAGE_SHAPE)
    assert stages.names == {(8, 8): "2", (4, 4): "5"}, "after the ReLUs, before the pooling"
    images = torch.randn(2, *parts.IMAGE_SHAPE)
    with stages.watching([(8, 8), (4, 4)]) as maps:
        network(images)
    torch.testing.assert_close(maps[0], plain_map(network[:3](images)))
    torch.testing.assert_close(maps[1], plain_map(network[:6](images)))
    assert not any(module._forward_hooks for module in network.modules())


def test_modes_are_restored() -> None:
    network = parts.teacher().train()
    network[1].eval()
    StageMaps(network, parts.IMAGE_SHAPE)
    assert [module.training for module in network[:3]] == [True, False, True]


def test_networks_without_a_common_size_are_refused() -> None:
    whole = StageMaps(nn.Conv2d(3, 4, 1), parts.IMAGE_SHAPE)
    halved = StageMaps(nn.Conv2d(3, 4, 2, stride=2), parts.IMAGE_SHAPE)
    with pytest.raises(ValueError, match=r"teacher: 8x8; student: 4x4\): set it to 0"):
        common_stages(whole, halved)


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


def test_a_networks_own_changes_in_place_do_no_harm() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Any:
            return self.inner(x).relu_().flatten(1)

    network = InPlace()
    stages = StageMaps(network, parts.IMAGE_SHAPE)
    images = torch.randn(2, *parts.IMAGE_SHAPE)
    with stages.watching([(8, 8)]) as maps:
        network(images)
    torch.testing.assert_close(maps[0], plain_map(network.inner(images)))
    maps[0].sum().backward()
