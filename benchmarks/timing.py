"""Timing of functions in turn, for machines that are shared with others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from fastdfkd.core.precision import resolve_precision
from fastdfkd.core.torch_versions import frozen_convolutions

Work = Callable[[], object]


def seconds(work: Work, device: torch.device) -> float:
    """Seconds of one call: CPU time of this process on a CPU, synchronised wall time on a GPU."""
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
    """Median seconds of each function, called in turn `repeats` times after a warm-up call."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work, device))
    return {name: statistics.median(values) for name, values in times.items()}


def precisions(device: torch.device) -> tuple[Literal["float32", "bfloat16"], ...]:
    """The types that the hardware multiplies natively. Emulated bfloat16 is 100 times slower."""
    return (
        ("float32", "bfloat16") if resolve_precision(device, "auto") == "bfloat16" else ("float32",)
    )


def matmul_peaks(device: torch.device) -> dict[str, float]:
    """Best FLOP/s of a square matrix product, by precision."""
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
    """Floating-point operations of matrix products and convolutions, from torch's counter.

    The counter gets a formula for oneDNN's fused convolution, which it does not know.
    """
    fused = dict.fromkeys(frozen_convolutions(), _fused_convolution_flops)
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        work()
    return int(counter.get_total_flops())


def _fused_convolution_flops(*shapes: Any, out_shape: Any, **_: Any) -> int:
    """Arguments are (input, weight, bias, ...) or (input, added tensor, weight, bias, ...)."""
    added = shapes[2] is not None and len(shapes[2]) == 4
    return int(conv_flop_count(shapes[0], shapes[2 if added else 1], out_shape))
