"""Which maps two networks have in common, and how they are taken from a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.stages import MapSource, Stage, Wanted, maps_of, stages_of, watching
from fastdfkd.core.task_kind import Segmentation

from . import parts


def kept(maps: Tensor) -> Tensor:
    return maps


class Net(nn.Module):
    """A convolution, and what a function makes of its maps."""

    def __init__(self, after: Callable[[Tensor], Any], stride: int = 1) -> None:
        super().__init__()
        self.inner, self.after = nn.Conv2d(3, 4, stride, stride=stride), after

    def forward(self, images: Tensor) -> Any:
        return self.after(self.inner(images))


def test_the_last_map_of_each_size_is_a_stage() -> None:
    found = stages_of(parts.task(), "a key")
    wide, narrow = MapSource("2", 5), MapSource("2", 3)  # after the ReLU
    deep = Stage((4, 4), MapSource("5", 6), MapSource("5", 4))  # before the pooling
    assert found.common == (Stage((8, 8), wide, narrow), deep)
    assert [stage.name for stage in found.common] == ["8x8", "4x4"]
    assert found.left_out == ""


def test_what_is_kept_of_them_comes_in_order() -> None:
    network, images = parts.teacher(), torch.randn(5, *parts.IMAGE_SHAPE)
    found = maps_of(network, parts.IMAGE_SHAPE)
    sizes = [(4, 4), (8, 8), (4, 4)]
    kinds = (kept, kept, lambda maps: maps.sum())
    wanted = [Wanted(found[size], size, kind) for size, kind in zip(sizes, kinds, strict=True)]
    with watching(network, wanted, 2) as maps:
        network(images)
    deep, wide = network[:6](images[:2]), network[:3](images[:2])
    for mine, expected in zip(maps, (deep, wide, deep.sum()), strict=True):
        torch.testing.assert_close(mine, expected)
    with watching(network, wanted) as maps:
        network(images)
    assert maps[0].shape == (5, 6, 4, 4)
    assert not any(module._forward_hooks for module in network.modules())


def test_modes_are_restored() -> None:
    network = parts.teacher().train()
    network[1].eval()
    maps_of(network, parts.IMAGE_SHAPE)
    assert [module.training for module in network[:3]] == [True, False, True]


def test_sizes_of_one_network_alone_are_named() -> None:
    student = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 4, 2, stride=2))
    found = stages_of(parts.task(student=student), "a key")
    assert [stage.name for stage in found.common] == ["4x4"]
    assert found.left_out == "not compared: 8x8 (only the teacher), 2x2 (only the student)"


def test_networks_without_a_common_size_are_refused() -> None:
    student = Net(lambda maps: maps.flatten(1), stride=3)
    message = (
        r"^distillation.stage_maps is above 0, .* \(teacher: 8x8, 4x4; student: 2x2\): set it to 0"
    )
    with pytest.raises(ValueError, match=message):
        stages_of(parts.task(student=student), "distillation.stage_maps")


def test_a_network_without_modules_that_return_maps_is_refused() -> None:
    student = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(ValueError, match="student: none"):
        stages_of(parts.task(student=student), "a key")


def test_maps_of_logits_are_a_stage_only_if_asked_for() -> None:
    teacher, student = parts.segmenter(1), parts.segmenter(2, width=4)
    task = parts.task(teacher=teacher, student=student, kind=Segmentation(parts.CLASSES))
    (inner,) = stages_of(task, "a key").common
    assert inner == Stage((8, 8), MapSource("2", 6), MapSource("2", 4))
    (answer,) = stages_of(task, "a key", with_logits=True).common
    assert answer.teacher == MapSource("", parts.CLASSES)  # the network itself


def test_maps_of_logits_are_known_in_answers_of_any_type() -> None:
    network = Net(lambda maps: {"out": maps})
    assert maps_of(network, parts.IMAGE_SHAPE, logits_axes=2) == {}
    assert maps_of(network, parts.IMAGE_SHAPE) == {(8, 8): MapSource("inner", 4)}


def test_a_networks_own_changes_in_place_do_no_harm() -> None:
    network, images = Net(lambda maps: maps.relu_().flatten(1)), torch.randn(2, *parts.IMAGE_SHAPE)
    with watching(network, [Wanted(MapSource("inner", 4), (8, 8), kept)]) as maps:
        network(images)
    torch.testing.assert_close(maps[0], network.inner(images))
    maps[0].sum().backward()


def test_a_map_that_does_not_come_is_an_error_that_names_it() -> None:
    network = parts.teacher()
    wanted = [Wanted(MapSource("2", 5), (8, 8), kept)]
    with (
        pytest.raises(RuntimeError, match="module '2' returned no map of 8x8"),
        watching(network, wanted),
    ):
        network(torch.randn(1, 3, 12, 12))
    assert not network[2]._forward_hooks
