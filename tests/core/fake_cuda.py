"""Stand-ins for torch's CUDA functions that record their order and account for memory.

A graph takes `GRAPH_BYTES` when it is recorded. When it is deleted they go to torch's cache, and
`empty_cache` returns them to the device, as torch documents it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

GRAPH_BYTES = 1000


class FakeCuda:
    """What happened, in order, and the bytes in use."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.in_graphs = self.cached = self.allocated = self.peak = 0
        self.sync_mode: Any = 0
        self.streams = ["callers"]
        """The current stream is the last one."""

    @property
    def reserved(self) -> int:
        """Bytes that other processes cannot have."""
        return self.in_graphs + self.cached + self.allocated

    def allocate(self, count: int) -> None:
        """Tensors take `count` bytes; a negative number frees them."""
        self.allocated += count
        self.peak = max(self.peak, self.allocated + self.in_graphs)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
        """Put the stand-ins in place of torch's functions."""
        functions = {
            "Stream": partial(FakeStream, self),
            "CUDAGraph": partial(FakeGraph, self),
            "stream": self._on,
            "graph": self._record,
            "current_stream": lambda _device: FakeStream(self, name=self.streams[-1]),
            "graph_pool_handle": lambda: "pool 1",
            "empty_cache": self._empty_cache,
            "get_sync_debug_mode": lambda: self.sync_mode,
            "set_sync_debug_mode": self._set_sync_mode,
            "reset_peak_memory_stats": self._reset_peak,
            "max_memory_allocated": lambda _device: self.peak,
            "synchronize": lambda _device=None: self.log.append("synchronise"),
        }
        for name, function in functions.items():
            monkeypatch.setattr(torch.cuda, name, function)
        return self

    @contextmanager
    def _on(self, stream: FakeStream) -> Iterator[None]:
        self.streams.append(stream.name)
        yield
        self.streams.pop()

    @contextmanager
    def _record(
        self, graph: FakeGraph, pool: Any, stream: FakeStream, capture_error_mode: str
    ) -> Iterator[None]:
        self.log.append(f"record into {pool} on {stream.name}, errors {capture_error_mode}")
        with self._on(stream):
            yield
        self.in_graphs += GRAPH_BYTES
        self.peak = max(self.peak, self.allocated + self.in_graphs)
        graph.recorded = True

    def _empty_cache(self) -> None:
        self.log.append("empty the cache")
        self.cached = 0

    def _set_sync_mode(self, mode: Any) -> None:
        self.sync_mode = mode

    def _reset_peak(self, _device: Any) -> None:
        self.peak = self.allocated + self.in_graphs


class FakeStream:
    """Stands in for `torch.cuda.Stream`."""

    def __init__(self, fake: FakeCuda, device: Any = None, name: str = "recording"):
        self.fake, self.name = fake, name

    def wait_stream(self, other: FakeStream) -> None:
        """Record the wait."""
        self.fake.log.append(f"{self.name} waits for {other.name}")


class FakeGraph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self, fake: FakeCuda):
        self.fake, self.recorded = fake, False

    def replay(self) -> None:
        """Record the replay."""
        self.fake.log.append(f"replay on {self.fake.streams[-1]}")

    def __del__(self) -> None:
        if self.recorded:
            self.fake.in_graphs -= GRAPH_BYTES
            self.fake.cached += GRAPH_BYTES


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda().install(monkeypatch)
