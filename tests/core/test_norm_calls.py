"""Statistics inside TorchScript programs."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from fastdfkd.core.bn_statistics import BatchNormStatistics


def scripted(network: nn.Module, how: str) -> nn.Module:
    """The network as a TorchScript program that was saved and loaded."""
    held = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        made = (
            torch.jit.script(network)
            if how == "script"
            else torch.jit.trace(network, torch.zeros(2, 3, 6, 6))
        )
        torch.jit.save(made, held)
        held.seek(0)
        return torch.jit.load(held)  # type: ignore[no-any-return]


def tracking_instance_norm(channels: int) -> nn.Module:
    """InstanceNorm that normalises by running statistics in eval mode."""
    layer = nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)
    assert layer.running_mean is not None
    layer.running_mean.copy_(torch.arange(channels) / 4)
    return layer


@pytest.mark.parametrize("second", [nn.BatchNorm2d, tracking_instance_norm])
@pytest.mark.parametrize("inside", [False, True], ids=["program", "part"])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_torchscript_program_shows_its_statistics_with_gradients(
    how: str, inside: bool, second: Callable[[int], nn.Module]
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), second(5)
    ).eval()
    network[1].running_mean.normal_()  # type: ignore[operator, union-attr]
    program = scripted(network, how)
    if inside:
        program = nn.Sequential(program, nn.Flatten())
    names = {"1": "1.running_mean", "4": "4.running_mean"}
    found: list[tuple[dict[str, Any], float, Tensor]] = []
    for model in (network, program):
        statistics = BatchNormStatistics(model, momentum=0.9)
        for seed in range(3):  # TorchScript optimises a program after its first calls
            x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
            x.requires_grad_()
            with statistics.watching():
                model(x)
                newest, loss = statistics.newest, statistics.loss()
                (gradient,) = torch.autograd.grad(loss, x)
                statistics.end_batch()
            found.append((newest, loss.item(), gradient))
    for (plain, loss, gradient), (seen, loss_seen, gradient_seen) in zip(
        found[:3], found[3:], strict=True
    ):
        prefix = "0." if inside else ""
        assert {prefix + names[name] for name in plain} == set(seen)
        for name, moments in plain.items():
            for expected, moment in zip(moments, seen[prefix + names[name]], strict=True):
                torch.testing.assert_close(moment, expected)
        assert loss_seen == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(gradient_seen, gradient)


def test_a_program_that_fails_leaves_no_observer_behind() -> None:
    program = scripted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), "script")
    statistics = BatchNormStatistics(program)
    with pytest.raises(RuntimeError), statistics.watching():
        program(torch.zeros(1, 2, 6, 6))
    assert len(_get_current_dispatch_mode_stack()) == 0
    with statistics.watching():
        program(torch.zeros(1, 3, 6, 6))
        assert set(statistics.newest) == {"1.running_mean"}
