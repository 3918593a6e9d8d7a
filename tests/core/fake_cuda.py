"""Stand-ins for torch's CUDA functions that record their order and account for memory.

A graph takes `GRAPH_BYTES` when it is recorded. When it is deleted they go to torch's cache, and
`empty_cache` returns them to the device, as torch documents it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        fake = self

        class Stream:
            def __init__(self, device: Any = None, name: str = "recording"):
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                fake.log.append(f"{self.name} waits for {other.name}")

        class CUDAGraph:
            recorded = False

            def replay(self) -> None:
                fake.log.append(f"replay on {fake.streams[-1]}")

            def __del__(self) -> None:
                if self.recorded:
                    fake.in_graphs -= GRAPH_BYTES
                    fake.cached += GRAPH_BYTES

        @contextmanager
        def on(stream: Stream) -> Iterator[None]:
            fake.streams.append(stream.name)
            yield
            fake.streams.pop()

        @contextmanager
        def graph(graph: CUDAGraph, pool: Any, stream: Stream, capture_error_mode: str) -> Any:
            fake.log.append(f"record into {pool} on {stream.name}, errors {capture_error_mode}")
            with on(stream):
                yield
            fake.in_graphs += GRAPH_BYTES
            fake.peak = max(fake.peak, fake.allocated + fake.in_graphs)
            graph.recorded = True

        def empty_cache() -> None:
            fake.log.append("empty the cache")
            fake.cached = 0

        def set_sync_debug_mode(mode: Any) -> None:
            fake.sync_mode = mode

        def reset_peak(_device: Any) -> None:
            fake.peak = fake.allocated + fake.in_graphs

        functions = {
            "Stream": Stream,
            "CUDAGraph": CUDAGraph,
            "stream": on,
            "graph": graph,
            "current_stream": lambda _device: Stream(name=fake.streams[-1]),
            "graph_pool_handle": lambda: "pool 1",
            "empty_cache": empty_cache,
            "get_sync_debug_mode": lambda: fake.sync_mode,
            "set_sync_debug_mode": set_sync_debug_mode,
            "reset_peak_memory_stats": reset_peak,
            "max_memory_allocated": lambda _device: fake.peak,
            "synchronize": lambda _device=None: fake.log.append("synchronise"),
        }
        for name, function in functions.items():
            monkeypatch.setattr(torch.cuda, name, function)
        return fake


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda().install(monkeypatch)
