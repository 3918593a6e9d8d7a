"""Students that start as a selection of their teacher's weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import MobileNetV2

from fastdfkd.models import build_network, select_weights
from fastdfkd.models.weight_selection import same_modules, same_places


def test_an_equal_network_becomes_the_teacher() -> None:
    teacher, student = build_network("resnet8", 10, 3), build_network("resnet8", 10, 3)
    for layer in teacher.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    found = select_weights(student, teacher)
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(student.eval()(images), teacher.eval()(images))
    assert found.drawn == ()
    assert found.line == f"{found.selected} tensors start as a selection of the teacher's"


def test_fewer_blocks_and_channels_are_the_teachers_first_and_evenly_spaced_ones() -> None:
    teacher, student = build_network("resnet14", 10, 3), build_network("resnet8", 10, 3)
    found = select_weights(student, teacher)
    mine, theirs = student.state_dict(), teacher.state_dict()
    assert found.drawn == ()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)

    thin = build_network("resnet14-half", 10, 3)
    select_weights(thin, teacher)
    places = torch.linspace(0, 63, 32).round().long()
    assert torch.equal(thin.linear.weight, teacher.linear.weight[:, places])  # type: ignore[union-attr, index]


def _inverted_residuals(*blocks: int) -> nn.Module:
    """MobileNetV2 of 16 and 24 channels in one list of blocks, with so many blocks of each."""
    settings = [[6, width, n, 2] for width, n in zip((16, 24), blocks, strict=True)]
    network = MobileNetV2(num_classes=10, inverted_residual_setting=settings)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    return network


def test_one_list_of_blocks_is_aligned_with_a_longer_one() -> None:
    teacher, student = _inverted_residuals(3, 2), _inverted_residuals(1, 1)
    found = select_weights(student, teacher)
    assert found.drawn == ()
    places = dict(same_places(student, teacher))
    stages = {name.split(".")[1]: place.split(".")[1] for name, place in places.items()}
    assert {stages[name] for name in ("0", "1", "2", "3")} == {"0", "1", "4", "6"}
    modules = dict(same_modules(student, teacher))
    assert (modules[""], modules["features.2.conv.0.2"]) == ("", "features.4.conv.0.2")
    mine, theirs = student.state_dict(), teacher.state_dict()
    assert all(torch.equal(mine[name], theirs[place]) for name, place in places.items())


def test_a_thinner_list_is_aligned_with_the_blocks_of_the_closest_size() -> None:
    teacher = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 8))
    student = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 6))
    assert dict(same_places(student, teacher))["1.weight"] == "1.weight"
    shorter = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(6, 7))
    assert dict(same_places(shorter, teacher))["2.weight"] == "3.weight"


def test_what_does_not_fit_keeps_its_random_values() -> None:
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 4))
    student = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 4))
    before = student[0].weight.clone()
    found = select_weights(student, teacher)
    assert torch.equal(student[0].weight, before)
    assert torch.equal(student[2].weight, teacher[2].weight)
    assert found.line == (
        "2 tensors start as a selection of the teacher's; random: 0.weight, 0.bias, 3.weight and 1 "
        "more"
    )


def test_a_student_of_another_architecture_is_refused() -> None:
    teacher, student = build_network("wrn-16-1", 10, 3), nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="no parameter of the student has the name") as refusal:
        select_weights(student, teacher)
    assert "0.weight" in str(refusal.value)
    assert "remove the key" in str(refusal.value)
