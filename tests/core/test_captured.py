"""A captured step repeats what was recorded: a tape on the CPU, a CUDA graph on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.captured import WARM_UP, Captured, captured

from . import parts
from .replays import device
from .tape import TapeRecorder

__all__ = ["device"]


def record(step: Callable[..., Any], device: str) -> Captured[Any]:
    recorded = captured(step, device, True)
    assert isinstance(recorded, Captured)
    return recorded


def test_unless_wanted_a_step_is_itself(device: str) -> None:
    def step() -> None:
        """Nothing."""

    assert captured(step, device, False) is step


def test_on_other_devices_a_step_is_itself() -> None:
    assert captured(parts.task, "cpu", True) is parts.task


def test_each_kind_is_recorded_once_and_every_call_counts(device: str) -> None:
    total, recorded = torch.zeros(3, device=device), []

    def step(sign: int, x: Tensor) -> Tensor:
        recorded.append((sign, len(x)))
        total.add_(sign * x.sum())
        return x * 2

    recording = record(step, device)
    expected = 0.0
    for number in range(WARM_UP + 3):
        for sign, count in ((1, 4), (-1, 4), (1, 5)):
            x = torch.full((count,), float(number), device=device)
            expected += sign * count * number
            assert recording(sign, x).tolist() == [2.0 * number] * count
            assert total.tolist() == [expected] * 3
    assert [recorded.count(kind) for kind in ((1, 4), (-1, 4), (1, 5))] == [WARM_UP + 1] * 3


def test_a_result_is_overwritten_by_the_next_call_and_arguments_are_not_kept(device: str) -> None:
    recording = record(lambda x: x + 1, device)
    x = torch.zeros(2, device=device)
    for _ in range(WARM_UP + 1):
        first = recording(x)
    x += 5
    assert first.tolist() == [1, 1]
    assert recording(x) is first
    assert first.tolist() == [6, 6]


def test_gradients_are_made_anew_in_every_replay(device: str) -> None:
    weight = torch.ones(2, device=device, requires_grad=True)

    def step(x: Tensor) -> None:
        weight.grad = None
        (weight * x).sum().backward()
        with torch.no_grad():
            weight.sub_(weight.grad)  # type: ignore[arg-type]

    recording = record(step, device)
    for number in range(WARM_UP + 3):
        recording(torch.full((2,), float(number), device=device))
    assert weight.tolist() == [1.0 - sum(range(WARM_UP + 3))] * 2


def test_what_python_remembers_is_lost(device: str) -> None:
    """So a step that relies on Python state would fail the comparisons below."""
    calls = []

    def step(x: Tensor) -> Tensor:
        calls.append(0)
        return x + len(calls)

    recording = record(step, device)
    found = [recording(torch.zeros((), device=device)).item() for _ in range(WARM_UP + 3)]
    assert found == [1, 2, 3, 4, 4, 4]


FORBIDDEN: dict[str, Callable[[Tensor], Any]] = {
    "a value": lambda x: x * x.sum().item(),
    "a branch": lambda x: x if x.sum() > 0 else -x,
    "a shape": lambda x: x[x > 0],
    "the host": lambda x: x + torch.tensor([1.0, 2.0]).to(x.device),
    "random": lambda x: x + torch.rand(2, generator=torch.Generator(x.device), device=x.device),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_tape_refuses_what_a_graph_cannot_repeat(what: str) -> None:
    """On the CPU only: on CUDA each would break a capture on a device that others use."""
    recorder = TapeRecorder(torch.device("cpu"))
    with pytest.raises(AssertionError, match="captured step"):
        recorder.record(lambda: FORBIDDEN[what](torch.ones(2)))
