"""What bounds a step: its kernels, launches and idle gaps, and the share of the matmul peak.

torch's profiler gives the kernels (on the CPU: the outermost operators) with their times. A replay
of a CUDA graph is one launch of many kernels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Work

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync")
IDLE_SHARE = 0.25
"""From this share of idle time on the device waits for launches."""
SHORT_KERNEL_S = 6e-6
"""A kernel that is shorter on average costs more to start than to run."""
LOW_SHARE_OF_PEAK = 0.3
"""Below this share of the matmul peak while it is busy, the device waits for memory."""

Interval = tuple[float, float]
"""Begin and end in seconds."""


@dataclass(frozen=True, kw_only=True)
class StepLimits:
    """Figures of one call of a step."""

    kernels: float
    launches: float
    """Calls that start work on the device."""
    busy_seconds: float
    """Time in which at least one kernel ran."""
    idle_seconds: float
    """Time between kernels."""
    longest_gap_seconds: float
    flops: float
    """Floating-point operations of matrix products and convolutions."""
    flops_per_second: float
    share_of_peak: float
    """Of the measured matmul peak, over the whole time."""
    next_limit: str
    """What bounds the step now, and what would help."""

    def row(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def limits_of(
    intervals: Sequence[Interval], launches: int, calls: int, flops: float, peak: float
) -> StepLimits:
    """The figures of a call, from a profile of several.

    Args:
        intervals: of all kernels of the calls.
        launches: in all calls.
        calls: how many.
        flops: operations of one call.
        peak: FLOP/s of a matrix product.

    Raises:
        ValueError: there are no kernels.
    """
    if not intervals:
        raise ValueError("the profile has no kernels: expected those of at least one call")
    merged = _merged(intervals)
    busy = sum(end - begin for begin, end in merged)
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(merged)]
    span = merged[-1][1] - merged[0][0]
    per_second = flops * calls / span
    found = {
        "kernels": len(intervals) / calls,
        "launches": launches / calls,
        "busy_seconds": busy / calls,
        "idle_seconds": (span - busy) / calls,
        "longest_gap_seconds": max(gaps, default=0.0),
        "flops": flops,
        "flops_per_second": per_second,
        "share_of_peak": per_second / peak,
    }
    busy_share = flops * calls / busy / peak
    return StepLimits(**found, next_limit=_next_limit(found, len(intervals), busy, busy_share))


def _next_limit(figures: dict[str, float], kernels: int, busy: float, busy_share: float) -> str:
    idle, length = figures["idle_seconds"], busy / kernels
    span = figures["busy_seconds"] + idle
    if idle > IDLE_SHARE * span:
        if figures["launches"] > 0.5 * figures["kernels"]:
            return "launches from Python: record the step as a CUDA graph"
        return "gaps between replays: more steps in one graph, or draws beside them"
    if length < SHORT_KERNEL_S:
        return "many short kernels: fuse them, or larger batches"
    if busy_share < LOW_SHARE_OF_PEAK:
        return "memory traffic: fewer passes over the activations, or a narrower type"
    return "arithmetic"


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of intervals, in order."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def profiled(work: Work, device: torch.device, flops: float, peak: float, calls: int) -> StepLimits:
    """The figures of a step on a device.

    Args:
        work: one call; it was called before, so that graphs are recorded.
        device: where it runs.
        flops: operations of a call.
        peak: see `limits_of`.
        calls: how many are profiled.
    """
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(calls):
            work()
        if on_gpu:
            torch.cuda.synchronize(device)
    kernels, launches = [], 0
    for event in profiler.events() or ():
        interval = event.time_range.start / 1e6, event.time_range.end / 1e6
        if on_gpu and event.device_type == DeviceType.CUDA:
            kernels.append(interval)
        elif on_gpu:
            launches += event.name.startswith(_LAUNCHES)
        elif event.cpu_parent is None:
            kernels.append(interval)
            launches += 1
    return limits_of(kernels, launches, calls, flops, peak)
