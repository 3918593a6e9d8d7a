"""Timing things side by side on a machine that is shared with others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from fastdfkd.core.precision import resolved

Work = Callable[[], object]


def seconds(work: Work, device: torch.device) -> float:
    """One call: CPU seconds of this process on a CPU, synchronised wall seconds on a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def alternated(works: Mapping[str, Work], device: torch.device, repeats: int) -> dict[str, float]:
    """Median seconds of each, called in turn `repeats` times after one call to warm up."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            taken[name].append(seconds(work, device))
    return {name: statistics.median(times) for name, times in taken.items()}


def precisions(device: torch.device) -> tuple[Literal["float32", "bfloat16"], ...]:
    """The types that the hardware multiplies in; emulated bfloat16 is a hundred times slower."""
    return ("float32", "bfloat16") if resolved(device, "auto") == "bfloat16" else ("float32",)


def matmul_peaks(device: torch.device) -> dict[str, float]:
    """Best FLOP/s of a square matrix product in each of `precisions`, by its name."""
    side = 1024 if device.type == "cpu" else 8192
    peaks = {}
    for precision in precisions(device):
        dtype = getattr(torch, precision)
        a = torch.randn(side, side, device=device).to(dtype)
        b = torch.randn(side, side, device=device).to(dtype)
        seconds(lambda a=a, b=b: a @ b, device)
        best = min(seconds(lambda a=a, b=b: [a @ b for _ in range(3)], device) for _ in range(8))
        peaks[precision] = 3 * 2 * side**3 / best
    return peaks


def flops(work: Work) -> int:
    """Floating-point operations of matrix products and convolutions, by torch's own counter.

    It is told of oneDNN's convolution with what follows it, which it does not know.
    """
    joined: dict[Any, Any] = {torch.ops.mkldnn._convolution_pointwise: _joined_convolution}
    with FlopCounterMode(display=False, custom_mapping=joined) as counter:
        work()
    return int(counter.get_total_flops())


def _joined_convolution(*shapes: Any, out_shape: Any, **_: Any) -> int:
    """Arguments are input, weight, bias, ... or input, what is added, weight, bias, ..."""
    added = shapes[2] is not None and len(shapes[2]) == 4
    return int(conv_flop_count(shapes[0], shapes[2 if added else 1], out_shape))
