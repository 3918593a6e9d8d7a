"""A recorder for the CPU with the rules of a CUDA graph: it replays the operations of a step.

As with a graph, recording changes no tensor. A replay runs the recorded operations on the recorded
tensors, and no Python. Operations that would wait for the device, copy from the host or draw random
numbers are refused. Exchanges with other workers (gloo) are repeated, too. Not covered on a CPU:
copies between devices, kernels that synchronise internally, streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fastdfkd.core.captured import RecordingError
from fastdfkd.core.torch_versions import DispatchMode

T = TypeVar("T")
REFUSED = {
    torch.Tag.data_dependent_output: "asks the device for a value",
    torch.Tag.dynamic_output_shape: "asks the device for a shape",
    torch.Tag.nondeterministic_seeded: "draws random numbers",
}


def strided(*trees: Any) -> Iterator[Tensor]:
    """The tensors that have ordinary storage, unlike oneDNN's packed weights."""
    for leaf in tree_leaves(trees):
        if isinstance(leaf, Tensor) and leaf.layout is torch.strided:
            yield leaf


class Tape(DispatchMode):
    """Records every operation of a block, forward and backward, with its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Any, Any]] = {}
        """Memory that existed before the block, by address, with its content."""
        self.made: set[int] = set()
        """Addresses of memory that the block allocated."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for tag, why in REFUSED.items():
            assert tag not in func.tags, f"a captured step {why}: {func}"
        assert func is not torch.ops.aten.lift_fresh.default, "a captured step copies from the host"
        for tensor in strided(args, kwargs):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.made | self.before.keys():
                self.before[storage.data_ptr()] = storage, storage.clone()
        result = func(*args, **kwargs)
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in strided(result)}
        self.calls.append((func, args, kwargs, result))
        return result

    def rewind(self) -> None:
        """Restore the memory that existed before the block."""
        for storage, content in self.before.values():
            storage.copy_(content)

    def replay(self) -> None:
        """Run the recorded operations on the same memory."""
        with torch.inference_mode():
            for func, args, kwargs, result in self.calls:
                again = func(*args, **kwargs)
                for leaf in tree_leaves(again):
                    if isinstance(leaf, torch.ScriptObject):  # an exchange with other workers
                        leaf.wait()  # type: ignore[attr-defined]
                for place, tensor in zip(strided(result), strided(again), strict=True):
                    if place.data_ptr() != tensor.data_ptr():  # no view, and not in place
                        place.copy_(tensor)


class TapeRecorder:
    """Replaces `CudaGraphs` in tests."""

    def __init__(self, device: torch.device):
        assert device.type == "cpu"

    def warm_up(self, step: Callable[[], T]) -> T:
        return step()

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        tape = Tape()
        with tape:
            result = step()
        tape.rewind()
        return tape.replay, result

    def rehearse(self, step: Callable[[], object]) -> None:
        with Tape():
            step()

    def release(self) -> None:
        """The memory is the tape's, which is gone with its recording."""


class FailingRecorder(TapeRecorder):
    """Records like `TapeRecorder`, but fails at the end, as a GPU without memory does."""

    def record(self, step: Callable[[], T]) -> tuple[Callable[[], object], T]:
        super().record(step)
        raise RecordingError("no memory left")
