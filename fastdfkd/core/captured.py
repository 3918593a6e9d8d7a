"""Records a step once as a CUDA graph and replays it.

A step launches hundreds of small kernels, and launching them from Python may take longer than a
GPU needs to run them. A graph launches all of them by one call. It repeats the kernels but runs no
Python, so a step must obey three rules:

    function of tensors   everything that changes between calls is an argument, or a tensor that is
                          changed in place and never replaced
    no synchronisation    it reads no value from the device and copies nothing from or to the host
    no random numbers     they are drawn outside and passed as arguments

A step may exchange tensors with other workers (`core/worker_group.py`). It is then recorded by all
of them or by none. The tests also replay every captured step on the CPU, with a recorder that
enforces these rules.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
log = logging.getLogger(__name__)
WARM_UP = 3
"""Calls with the same shapes that run normally before recording, so that libraries initialise."""


class RecordingError(RuntimeError):
    """A step could not be recorded; the message says why."""


class Recorder(Protocol):
    """Records steps on one device."""

    def warm_up(self, step: Callable[[], T]) -> T:
        """Run a step without recording it."""

    def rehearse(self, step: Callable[[], object]) -> None:
        """Run a step without recording it.

        Raises:
            Exception: it waits for the device.
        """

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """Record a step without running it.

        Returns:
            A function that replays it, and its result, which every replay overwrites.

        Raises:
            RecordingError: the step breaks a rule of this module, or memory is short.
        """

    def release(self) -> None:
        """Return memory to the device that no recording uses any more."""


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

    def rehearse(self, step: Callable[[], object]) -> None:
        """Run a step; an operation that waits for the device raises RuntimeError.

        This comes before a recording that may fail, because torch does not clean up after one: its
        random generator and its allocator stay in the state of recording (torch 2.13,
        `CUDAGraph::capture_end`).
        """
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            self.warm_up(step)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """Record a step. Other threads of the process may use the device during it."""
        graph = torch.cuda.CUDAGraph()
        how: Any = {"pool": self.pool, "stream": self.stream, "capture_error_mode": "thread_local"}
        try:
            with torch.cuda.graph(graph, **how):
                result = step()
        except RuntimeError as error:
            raise RecordingError(_first_line(error)) from error
        return graph.replay, result

    def release(self) -> None:
        """Empty torch's cache: a graph's memory goes there when the graph is deleted."""
        torch.cuda.empty_cache()


RECORDERS: dict[str, Callable[[torch.device], Recorder]] = {"cuda": CudaGraphs}
"""By type of device. On other devices steps are not captured."""


def captured(
    function: Callable[..., T],
    device: torch.device | str,
    wanted: bool,
    discard: Callable[[], object] = lambda: None,
    agree: Callable[[bool], bool] = bool,
) -> Callable[..., T]:
    """`function` captured, if `wanted` and if the device has a recorder; else `function` itself.

    Args:
        function: a step that keeps the rules of this module.
        device: where it runs.
        wanted: whether to capture it.
        discard: see `Captured`.
        agree: likewise.
    """
    device = torch.device(device)
    recorder = RECORDERS.get(device.type) if wanted else None
    return function if recorder is None else Captured(function, recorder(device), discard, agree)


def capture_failure(
    step: Callable[[Tensor], Tensor], device: torch.device | str, first: Tensor, second: Tensor
) -> str | None:
    """Why a step cannot be captured; None if it can, or if the device has no recorder.

    Args:
        step: a function of one tensor, which changes nothing.
        device: where it runs.
        first: argument for recording.
        second: argument for which the replay is compared with the step itself.
    """
    device = torch.device(device)
    if device.type not in RECORDERS:
        return None
    recorder = RECORDERS[device.type](device)
    recorded = Captured(step, recorder)
    try:
        for _ in range(WARM_UP):
            recorded(first)
        recorder.rehearse(lambda: step(first))
        recorded(first)
        if recorded.failure:
            return recorded.failure
        replayed, plain, again = recorded(second).clone(), step(second), step(second)
    except Exception as error:  # a user's network may raise anything
        return _first_line(error)
    finally:
        recorded.release()
    close = partial(torch.allclose, rtol=1e-2, atol=1e-3 * float(plain.abs().max()))
    if close(replayed, plain) or not close(again, plain):
        return None  # equal, or the step itself is random (dropout)
    return "its replay gives other values: its forward depends on more than its input tensors"


def warm_up_calls(device: torch.device | str, wanted: bool) -> int:
    """Calls of a step until each later one is as fast; see `captured` for the arguments."""
    return 1 + WARM_UP if wanted and torch.device(device).type in RECORDERS else 1


def release_steps(owner: object) -> None:
    """Drop the recordings of all captured steps among an object's attributes, and their memory."""
    for step in vars(owner).values():
        if isinstance(step, Captured):
            step.release()


def failures_of(owner: object) -> list[str]:
    """A line for each captured step among an object's attributes that could not be recorded."""
    steps = [step for step in vars(owner).values() if isinstance(step, Captured)]
    return [
        f"{type(owner).__name__} runs without cuda_graphs ({step.failure})"
        for step in steps
        if step.failure
    ]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Captured(Generic[T]):
    """A captured step. Its arguments are tensors and hashable values such as flags.

    Each combination of values and tensor shapes has its own recording, made after `WARM_UP` normal
    calls. The result is a tensor of the recording: **the next call overwrites it**.

    If a recording fails, the step runs normally from then on, and `failure` says why. Before it
    does, `discard` is called, which drops what the interrupted step left, such as gradients.

    A step that exchanges tensors with other workers has to be replayed by all of them or by none.
    `agree` takes whether this worker could record it, and returns whether all could. All workers
    then make the same calls of the step in the same order.
    """

    def __init__(
        self,
        function: Callable[..., T],
        recorder: Recorder,
        discard: Callable[[], object] = lambda: None,
        agree: Callable[[bool], bool] = bool,
    ):
        self.function, self.recorder = function, recorder
        self.discard, self.agree = discard, agree
        self.calls: Counter[Any] = Counter()
        self.recordings: dict[Any, _Recording[T]] = {}
        self.failure = ""
        """Why steps are not recorded any more; empty while they are."""

    def __call__(self, *arguments: Any) -> T:
        """The result of the step for these arguments."""
        kind = tuple((a.shape, a.dtype) if isinstance(a, Tensor) else a for a in arguments)
        if kind not in self.recordings and not self._records(kind, arguments):
            self.calls[kind] += 1
            return self.recorder.warm_up(lambda: self.function(*arguments))
        return self.recordings[kind].play(arguments)

    def _records(self, kind: Any, arguments: tuple[Any, ...]) -> bool:
        """Whether it is time for a recording and one could be made."""
        if self.failure or self.calls[kind] < WARM_UP:
            return False
        recording, failure = None, "another worker could not record it"
        try:
            recording = _Recording(self.function, self.recorder, arguments)
        except RecordingError as error:
            failure = str(error)
        if self.agree(recording is not None) and recording is not None:
            self.recordings[kind] = recording
            return True
        self.failure = failure
        log.warning("a step runs without cuda_graphs: it could not be recorded (%s)", failure)
        self.discard()
        return False

    def release(self) -> None:
        """Drop all recordings and return their memory to the device; later calls record anew."""
        self.recordings.clear()
        self.calls.clear()
        self.recorder.release()


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
