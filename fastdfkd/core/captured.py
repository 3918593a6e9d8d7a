"""Records a step once as a CUDA graph and replays it.

A step launches hundreds of small kernels, and launching them from Python may take longer than a
GPU needs to run them. A graph launches all of them by one call. It repeats the kernels but runs no
Python, so a step must obey three rules:

    function of tensors   everything that changes between calls is an argument, or a tensor that is
                          changed in place and never replaced
    no synchronisation    it reads no value from the device and copies nothing from or to the host
    no random numbers     they are drawn outside and passed as arguments

The tests also replay every captured step on the CPU, with a recorder that enforces these rules.
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
"""Calls with the same shapes that run normally before recording, so that libraries initialise."""


class Recorder(Protocol):
    """Records steps on one device."""

    def warm_up(self, step: Callable[[], T]) -> T:
        """Run a step without recording it."""

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """Record a step without running it.

        Returns:
            A function that replays it, and its result, which every replay overwrites.
        """


class CudaGraphs:
    """Records CUDA graphs on a separate stream. The graphs share one memory pool."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, step: Callable[[], T]) -> T:
        """Run a step on the recording stream, ordered with the caller's stream."""
        callers = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(callers)
        with torch.cuda.stream(self.stream):
            result = step()
        callers.wait_stream(self.stream)
        return result

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """Record a step. Other threads of the process may use the device during it.

        Raises:
            RuntimeError: the step breaks a rule of this module.
        """
        graph = torch.cuda.CUDAGraph()
        how: Any = {"pool": self.pool, "stream": self.stream, "capture_error_mode": "thread_local"}
        try:
            with torch.cuda.graph(graph, **how):
                result = step()
        except RuntimeError as error:
            raise RuntimeError(
                f"a step could not be recorded as a CUDA graph ({error}): its network must not "
                "read values from the device or copy from the host; set platform.cuda_graphs to "
                "false"
            ) from error
        return graph.replay, result


RECORDERS: dict[str, Callable[[torch.device], Recorder]] = {"cuda": CudaGraphs}
"""By type of device. On other devices steps are not captured."""


def captured(
    function: Callable[..., T], device: torch.device | str, wanted: bool
) -> Callable[..., T]:
    """`function` captured, if `wanted` and if the device has a recorder; else `function` itself."""
    device = torch.device(device)
    recorder = RECORDERS.get(device.type) if wanted else None
    return function if recorder is None else Captured(function, recorder(device))


def capture_failure(
    step: Callable[[Tensor], Tensor], device: torch.device | str, first: Tensor, second: Tensor
) -> str | None:
    """Why a step cannot be captured; None if it can, or if the device has no recorder.

    Args:
        step: a function of one tensor.
        device: where it runs.
        first: argument for recording.
        second: argument for which the replay is compared with the step itself.
    """
    device = torch.device(device)
    if device.type not in RECORDERS:
        return None
    try:
        recorded = Captured(step, RECORDERS[device.type](device))
        for _ in range(WARM_UP + 1):
            recorded(first)
        replayed, plain, again = recorded(second).clone(), step(second), step(second)
    except Exception as error:  # a user's network may raise anything
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    close = partial(torch.allclose, rtol=1e-2, atol=1e-3 * float(plain.abs().max()))
    if close(replayed, plain) or not close(again, plain):
        return None  # equal, or the step itself is random (dropout)
    return "its replay gives other values: its forward depends on more than its input tensors"


class Captured(Generic[T]):
    """A captured step. Its arguments are tensors and hashable values such as flags.

    Each combination of values and tensor shapes has its own recording, made after `WARM_UP` normal
    calls. The result is a tensor of the recording: **the next call overwrites it**.
    """

    def __init__(self, function: Callable[..., T], recorder: Recorder):
        self.function, self.recorder = function, recorder
        self.calls: Counter[Any] = Counter()
        self.recordings: dict[Any, _Recording[T]] = {}

    def __call__(self, *arguments: Any) -> T:
        """The result of the step for these arguments."""
        kind = tuple((a.shape, a.dtype) if isinstance(a, Tensor) else a for a in arguments)
        if kind not in self.recordings:
            if self.calls[kind] < WARM_UP:
                self.calls[kind] += 1
                return self.recorder.warm_up(lambda: self.function(*arguments))
            self.recordings[kind] = _Recording(self.function, self.recorder, arguments)
        return self.recordings[kind].play(arguments)


class _Recording(Generic[T]):
    """A recorded step with the tensors from which it reads its arguments."""

    def __init__(self, function: Callable[..., T], recorder: Recorder, arguments: tuple[Any, ...]):
        self.places = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
        self.replay, self.result = recorder.record(lambda: function(*self.places))

    def play(self, arguments: tuple[Any, ...]) -> T:
        for place, argument in zip(self.places, arguments, strict=True):
            if isinstance(place, Tensor):
                place.copy_(argument)
        self.replay()
        return self.result
