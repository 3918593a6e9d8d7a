"""What bounds a step follows from its kernels, launches and gaps."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu.step_limits import limits_of, profiled

PEAK = 1e12


def kernels(length: float, gap: float, count: int) -> list[tuple[float, float]]:
    return [(n * (length + gap), n * (length + gap) + length) for n in range(count)]


def test_figures_are_those_of_one_call() -> None:
    overlapping = [(0.0, 1.0), (0.5, 2.0), (3.0, 4.0)]  # two streams, then a gap
    found = limits_of(overlapping, launches=6, calls=2, flops=4e11, peak=PEAK)
    assert (found.kernels, found.launches) == (1.5, 3)
    assert (found.busy_seconds, found.idle_seconds, found.longest_gap_seconds) == (1.5, 0.5, 1.0)
    assert found.flops_per_second == pytest.approx(2e11)
    assert found.share_of_peak == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("length", "gap", "launches", "flops", "limit"),
    [
        (10e-6, 20e-6, 100, 1e6, "launches from Python"),
        (10e-6, 20e-6, 1, 1e6, "gaps between replays"),
        (2e-6, 0.1e-6, 1, 1e6, "many short kernels"),
        (50e-6, 1e-6, 1, 1e6, "memory traffic"),
        (50e-6, 1e-6, 1, 0.5 * PEAK * 100 * 50e-6, "arithmetic"),
    ],
)
def test_the_next_limit(length: float, gap: float, launches: int, flops: float, limit: str) -> None:
    found = limits_of(kernels(length, gap, 100), launches, 1, flops, PEAK)
    assert found.next_limit.startswith(limit)


def test_a_profile_without_kernels_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kernels"):
        limits_of([], 0, 1, 1.0, PEAK)


@pytest.mark.slow
def test_on_a_cpu_the_outermost_operators_are_the_kernels() -> None:
    a = torch.randn(128, 128)
    found = profiled(lambda: torch.relu(a @ a), torch.device("cpu"), 2 * 128**3, 1e11, 3)
    assert 2 <= found.kernels <= 4
    assert found.launches == found.kernels
    assert 0 < found.busy_seconds < 1


@pytest.mark.gpu
def test_a_replay_is_one_launch_of_many_kernels_on_a_gpu() -> None:
    from fastdfkd.core.captured import WARM_UP, captured

    step = captured(lambda x: torch.relu(x @ x).sum(), "cuda", True)
    x = torch.randn(64, 64, device="cuda")
    for _ in range(WARM_UP + 1):
        step(x)
    found = profiled(lambda: step(x), torch.device("cuda"), 2 * 64**3, 1e12, 3)
    assert found.kernels >= 3
    assert found.launches < found.kernels
