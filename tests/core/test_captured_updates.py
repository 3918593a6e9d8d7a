"""Captured student updates equal those without graphs, single and several in one graph."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fastdfkd.core import captured as captured_module
from fastdfkd.core.capture_trial import draws_random_numbers
from fastdfkd.core.captured import WARM_UP, Captured
from fastdfkd.core.chained_updates import LENGTH
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.teacher_cache import BATCHES
from fastdfkd.recipe import DistillationSection

from . import parts
from .replays import assert_same, device, exact_rates
from .tape import FailingRecorder

__all__ = ["device", "exact_rates"]


def distiller(device: str, capture: bool, precision: Any = "float32", **more: Any) -> Any:
    about = {"student_origins": more.pop("student_origins", {}), "precision": precision}
    values = {"updates_per_round": 2, "batch_size": 6, "lr": 0.02, "crop_padding": 1, **more}
    task = parts.task(device=device, capture=capture, **about)
    return StudentDistiller(DistillationSection(**values), task, total_updates=40)


def bank(device: str) -> SampleBuffer:
    held = SampleBuffer(20, parts.IMAGE_SHAPE, device)
    randomness = torch.Generator().manual_seed(4)
    shape = (20, *parts.IMAGE_SHAPE)
    held.extend(torch.randint(0, 256, shape, dtype=torch.uint8, generator=randomness))
    return held


def same_updates(pair: list[StudentDistiller], images: SampleBuffer, count: int) -> None:
    losses = [[pupil.update(images) for _ in range(count)] for pupil in pair]
    assert_same(*losses)
    assert_same(*(pupil.state_dict() for pupil in pair))


@pytest.mark.usefixtures("exact_rates")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, 1),
        ({"teacher_cache": 2}, 2),
        ({"momentum": 0.0, "warmup_updates": 7, "invert": True}, 1),
        ({"loss": "l1", "attention": 2.0}, 1),
        ({"stage_maps": 0.5, "student_origins": parts.SAME_MODULES}, 1),
        ({"stage_maps": 0.5, "teacher_cache": 2}, 2),
    ],
    ids=str,
)
def test_captured_updates_are_the_same(
    device: str, precision: Any, changes: dict[str, Any], kinds: int
) -> None:
    """Over several learning rates, while the cache fills, and after loading a state."""
    pair = [distiller(device, capture, precision, **changes) for capture in (True, False)]
    images = bank(device)
    same_updates(pair, images, BATCHES + 6)
    assert len(pair[0].ask.recordings) == kinds
    assert len(pair[0].follow.recordings) == (kinds if "stage_maps" in changes else 1)
    other = distiller(device, False, precision, **changes)
    for _ in range(BATCHES + 2):
        other.update(images)
    for pupil in pair:
        pupil.load_state_dict(copy.deepcopy(other.state_dict()))
    same_updates(pair, images, 4)


@pytest.mark.usefixtures("exact_rates")
def test_updates_that_cannot_be_recorded_are_those_without_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", FailingRecorder)
    pair = [distiller("cpu", False) for _ in range(2)]
    for name in ("ask", "follow"):
        step = getattr(pair[0], name)
        setattr(pair[0], name, Captured(step, FailingRecorder(torch.device("cpu"))))
    same_updates(pair, bank("cpu"), WARM_UP + 3)
    assert not pair[0].captures
    assert len(pair[0].notes) == 2


@pytest.mark.usefixtures("exact_rates")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"momentum": 0.0, "warmup_updates": 7, "invert": True},
        {"attention": 2.0, "stage_maps": 0.5, "mixup": 0.5},
        {"frozen_norms": True, "lr": 1e-8, "min_lr": 0.0},
    ],
)
def test_chained_updates_are_single_ones(device: str, changes: dict[str, Any]) -> None:
    """Over several learning rates, with single updates between, and while the bank changes."""
    pair = [distiller(device, capture, **changes) for capture in (True, False)]
    held = bank(device)
    for count in (2, LENGTH * (WARM_UP + 2) + 3, 1, 2 * LENGTH):
        losses = [pupil.update_many(held, count) for pupil in pair]
        assert losses[0].shape == (count,)
        assert_same(*losses)
        assert_same(*(pupil.state_dict() for pupil in pair))
        held.extend(held.first(20).flip(0))
    assert len(pair[0].chain.step.recordings) == 1
    pair[0].release()
    assert not pair[0].chain.step.recordings


def test_what_cannot_be_chained_is_made_in_single_updates(device: str) -> None:
    pair = [distiller(device, capture, teacher_cache=2) for capture in (True, False)]
    held = bank(device)
    assert_same(*(pupil.update_many(held, 2 * LENGTH) for pupil in pair))
    assert not pair[0].chain.fits(LENGTH)


def test_students_with_dropout_are_known() -> None:
    use, shape = NetworkUse(), parts.IMAGE_SHAPE
    plain = parts.network(3, (3, 4))
    assert not draws_random_numbers(plain, use, shape)
    assert draws_random_numbers(nn.Sequential(nn.Dropout(0.5), plain), use, shape)
