"""Adam and SGD equal torch's, without importing torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from fastdfkd.core.optimizers import SGD, Adam

SHAPES = (4, 3, 3, 3), (4,), (2, 4)
STEPS = 5


def parameters() -> list[Tensor]:
    torch.manual_seed(0)
    drawn = [torch.randn(shape) for shape in SHAPES]
    drawn[0] = drawn[0].contiguous(memory_format=torch.channels_last)
    return [each.requires_grad_() for each in drawn]


def gradients(step: int) -> list[Tensor | None]:
    """The last parameter has no gradient in the first two steps."""
    torch.manual_seed(step + 1)
    drawn = [torch.randn(shape) for shape in SHAPES]
    drawn[0] = drawn[0].contiguous(memory_format=torch.channels_last)
    return [*drawn[:2], None if step < 2 else drawn[2]]


def run(optimizer: Adam | SGD | torch.optim.Optimizer, mine: list[Tensor], steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(mine, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()


def adam(mine: list[Tensor]) -> Adam:
    return Adam(mine, 0.01, (0.5, 0.999))


def sgd(mine: list[Tensor]) -> SGD:
    return SGD(mine, 0.1, momentum=0.9, weight_decay=1e-2)


def nesterov(mine: list[Tensor]) -> SGD:
    return SGD(mine, 0.1, momentum=0.9, weight_decay=1e-2, nesterov=True)


THEIRS = {
    adam: lambda mine: torch.optim.Adam(mine, 0.01, (0.5, 0.999), fused=True),
    sgd: lambda mine: torch.optim.SGD(mine, 0.1, 0.9, weight_decay=1e-2, foreach=False),
    nesterov: lambda mine: torch.optim.SGD(
        mine, 0.1, 0.9, weight_decay=1e-2, nesterov=True, foreach=False
    ),
}


@pytest.mark.parametrize("ours", THEIRS)
def test_steps_are_torchs(ours: type) -> None:
    mine, expected = parameters(), parameters()
    run(ours(mine), mine, range(STEPS))
    run(THEIRS[ours](expected), expected, range(STEPS))
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
        assert one.grad is None
    assert not torch.equal(mine[0], parameters()[0])


@pytest.mark.parametrize("ours", THEIRS)
def test_a_state_of_any_layout_goes_on_exactly(ours: type) -> None:
    mine, through = parameters(), parameters()
    run(ours(mine), mine, range(STEPS))
    first = ours(through)
    run(first, through, range(3))
    state = {
        name: [each.contiguous() for each in tensors]
        for name, tensors in first.state_dict().items()
    }
    second = ours(through)
    second.load_state_dict(state)
    run(second, through, range(3, STEPS))
    for one, other in zip(mine, through, strict=True):
        assert torch.equal(one, other)


def test_both_roles_work_without_torchs_compiler() -> None:
    """Importing the compiler takes five seconds in every new process."""
    code = """
import sys
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe
recipe = load_recipe("digits-fast2", {"synthesis.batch_size": 4, "distillation.batch_size": 4})
parts = Experiment.of(recipe, build_network(recipe.teacher.model, 10, 1))
buffer = parts.buffer()
buffer.extend(parts.synthesizer().synthesize(0).images)
parts.distiller().update(buffer)
assert "torch" in sys.modules
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
