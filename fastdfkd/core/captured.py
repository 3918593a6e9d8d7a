"""Steps that are recorded once and then replayed as a whole: CUDA graphs.

A step is hundreds of small kernels, and Python may take longer to start them than a GPU to run
them. The graph of a step is started by one call. It repeats the kernels and nothing else, so such
a step has to be

    a function of tensors    what differs from call to call is an argument, or lies in a tensor that
                             is changed in place and never replaced; Python runs at recording only
    without waiting          no value is asked of the device, nothing is copied from or to the host
    without random numbers   they are drawn outside and come in as arguments

The test-suite replays every captured step on the CPU too, by a recorder with these rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
WARM_UP = 3
"""Calls of each kind that run as they are before one is recorded: libraries choose and set up."""


class Recorder(Protocol):
    """What can record a step on one device."""

    def warm_up(self, step: Callable[[], T]) -> T:
        """Run a step as it is."""

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """A step's replay and its result, which every replay fills anew. Nothing is run yet."""


class CudaGraphs:
    """Records on a stream of its own; its graphs share their scratch memory."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, step: Callable[[], T]) -> T:
        """Run a step on the recording's stream, in order with the caller's."""
        callers = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(callers)
        with torch.cuda.stream(self.stream):
            result = step()
        callers.wait_stream(self.stream)
        return result

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """Record a step; other threads of the process may use the device meanwhile.

        Raises:
            RuntimeError: the step does what a graph cannot repeat.
        """
        graph = torch.cuda.CUDAGraph()
        how: Any = {"pool": self.pool, "stream": self.stream, "capture_error_mode": "thread_local"}
        try:
            with torch.cuda.graph(graph, **how):
                result = step()
        except RuntimeError as error:
            raise RuntimeError(
                f"a step could not be recorded as a CUDA graph ({error}): a network that asks the "
                "device for a value or copies from the host cannot; set platform.cuda_graphs to "
                "false"
            ) from error
        return graph.replay, result


RECORDERS: dict[str, Callable[[torch.device], Recorder]] = {"cuda": CudaGraphs}
"""By type of device. On others steps run as they are."""


def captured(
    function: Callable[..., T], device: torch.device | str, wanted: bool
) -> Callable[..., T]:
    """`function`, recorded and replayed if that is `wanted` and the device can; else itself."""
    device = torch.device(device)
    recorder = RECORDERS.get(device.type) if wanted else None
    return function if recorder is None else Captured(function, recorder(device))


def trouble(
    step: Callable[[Tensor], Tensor], device: torch.device | str, first: Tensor, second: Tensor
) -> str | None:
    """Why a step cannot be captured; None where it can, or where nobody records.

    Args:
        step: a function of one tensor.
        device: where it runs.
        first: what it is recorded with.
        second: what its replay is compared for, with the step as it is.
    """
    device = torch.device(device)
    if device.type not in RECORDERS:
        return None
    try:
        recorded = Captured(step, RECORDERS[device.type](device))
        for _ in range(WARM_UP + 1):
            recorded(first)
        replayed, plain, again = recorded(second).clone(), step(second), step(second)
    except Exception as error:  # whatever a stranger's forward raises
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    close = partial(torch.allclose, rtol=1e-2, atol=1e-3 * float(plain.abs().max()))
    if close(replayed, plain) or not close(again, plain):
        return None  # the same, or draws at random, as dropout does
    return "a replay answers differently: its forward depends on values, not on tensors alone"


class Captured(Generic[T]):
    """A step that is called with tensors, and with other values that decide what it consists of.

    Each combination of those values and of the tensors' shapes has a recording of its own, made
    after `WARM_UP` calls, which count as any other. The result belongs to the recording: **the
    next call overwrites it**.
    """

    def __init__(self, function: Callable[..., T], recorder: Recorder):
        self.function, self.recorder = function, recorder
        self.calls: Counter[Any] = Counter()
        self.recordings: dict[Any, _Recording[T]] = {}

    def __call__(self, *arguments: Any) -> T:
        """The function's result for tensors and hashable values."""
        kind = tuple((a.shape, a.dtype) if isinstance(a, Tensor) else a for a in arguments)
        if kind not in self.recordings:
            if self.calls[kind] < WARM_UP:
                self.calls[kind] += 1
                return self.recorder.warm_up(lambda: self.function(*arguments))
            self.recordings[kind] = _Recording(self.function, self.recorder, arguments)
        return self.recordings[kind].play(arguments)


class _Recording(Generic[T]):
    """A recorded step and the places from which it reads its arguments."""

    def __init__(self, function: Callable[..., T], recorder: Recorder, arguments: tuple[Any, ...]):
        self.places = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
        self.replay, self.result = recorder.record(lambda: function(*self.places))

    def play(self, arguments: tuple[Any, ...]) -> T:
        for place, argument in zip(self.places, arguments, strict=True):
            if isinstance(place, Tensor):
                place.copy_(argument)
        self.replay()
        return self.result
