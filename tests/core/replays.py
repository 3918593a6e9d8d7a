"""What tests of captured steps share: devices with a recorder, and the comparison of results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fastdfkd.core import captured as captured_module
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.recipe.methods import GenerativeSection

from .tape import TapeRecorder


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The CPU with a tape instead of graphs, or CUDA with graphs."""
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    with torch.backends.cudnn.flags(deterministic=True):
        yield request.param


def assert_same(ours: Any, expected: Any) -> None:
    """Every tensor and number: bit for bit on the CPU, within rounding on CUDA."""
    found, wanted = tree_leaves(ours), tree_leaves(expected)
    assert len(found) == len(wanted)
    for mine, other in zip(found, wanted, strict=True):
        if not isinstance(other, Tensor):
            assert mine == pytest.approx(other, rel=1e-3 if torch.cuda.is_available() else 0, abs=0)
        elif other.device.type == "cpu":
            assert torch.equal(mine, other)
        elif other.dtype is torch.uint8:
            assert (mine.int() - other.int()).abs().max() <= 1
        else:
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.fixture
def exact_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning rates exact in float32: a captured step reads them from a float32 tensor."""
    rate: Any = StudentDistiller.lr
    monkeypatch.setattr(StudentDistiller, "lr", property(lambda self: in_float32(rate.fget(self))))
    of_round = GenerativeSection.lr_of
    monkeypatch.setattr(
        GenerativeSection, "lr_of", lambda self, round: in_float32(of_round(self, round))
    )


def in_float32(number: float) -> float:
    return torch.tensor(number, dtype=torch.float32).item()
