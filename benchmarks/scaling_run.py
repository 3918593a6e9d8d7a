"""One load of the scaling benchmark: sleeping synthesizers with the real dispatcher and bank.

`measure` sends batches through them and returns the processor seconds of each part.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from torch import Tensor

from benchmarks.sleeping_actor import SleepingActor
from fastdfkd.core.clock import Clock
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.history import History
from fastdfkd.platform.placement import on_driver_node
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import SampleBank
from fastdfkd.platform.weight_board import WeightBoard
from fastdfkd.trainers.bank_loader import BankLoader

CAPACITY = 1000
"""Most rounds in the bank. Synthesis is at most so many rounds ahead of the trainer: no round
is removed before the trainer has read it. Calls beyond that wait at the bank."""
BANK_BYTES = 10**9
"""Most bytes in the bank, because all object stores of this machine share its memory."""
POLL_SECONDS = 0.1
"""Between two looks of the driver at the trainer. A run looks at the board twice a second."""


class CountingBuffer(SampleBuffer):
    """A ring buffer that counts the bytes that are copied into it."""

    copied = 0
    """Bytes copied so far."""

    def extend(self, images: Tensor, *, lasting: bool = False) -> None:
        """Add images and count their bytes."""
        super().extend(images, lasting=lasting)
        self.copied += images.nbytes


@ray.remote(num_cpus=0)
class Trainer:
    """Reads all batches with the real loader, and trains nothing."""

    def __init__(self, shape: tuple[int, ...]):
        self.ring = CountingBuffer(2 * shape[0], shape[1:])
        self.batch_size = shape[0]

    def ready(self) -> bool:
        """Return once the actor has started."""
        return True

    def follow(self, bank: Any, batches: int) -> dict[str, float]:
        """Read from the bank until all batches are in the ring buffer; return the counts."""
        loader = BankLoader(bank, self.ring, Clock(), batch_size=self.batch_size, leader=True)
        before = self.ring.copied
        until = grants = 0
        while until < batches:
            until = loader.advance(until)
            grants += 1
        return {
            "ended": time.time(),
            "grants": grants,
            "copied": self.ring.copied - before,
            "storage": loader.clock.seconds["storage"],
        }


def drive(dispatcher: Dispatcher, counts_ref: Any) -> dict[str, float]:
    """Dispatch until the trainer has all batches; return the trainer's counts.

    References of images that the bank has removed are dropped, as the monitor of a run does.
    """
    with dispatcher:
        while not ray.wait([counts_ref], timeout=POLL_SECONDS)[0]:
            dispatcher.history.evict(len(dispatcher.history))
        counts = dict(ray.get(counts_ref))
    if dispatcher.error is not None:
        raise dispatcher.error
    return counts


@contextmanager
def bank_and_board(batches: int, tolerance: int, capacity: int) -> Iterator[tuple[Any, Any, str]]:
    """Start bank and board with the options that `platform.actors` uses; stop them at the end.

    Args:
        batches: rounds of the run, one update each.
        tolerance: rounds that synthesizers may be ahead.
        capacity: rounds that the bank can hold.

    Yields:
        The bank, the board, and the board's name.
    """
    limiter = RateLimiter(
        rounds=batches,
        warmup_rounds=0,
        updates_per_round=1,
        tolerance=tolerance,
        wave=1,
        publish_every=1,
    )
    name, light = f"board-{uuid.uuid4().hex}", {"scheduling_strategy": on_driver_node()}
    bank = SampleBank.options(max_concurrency=1000, **light).remote(limiter, capacity)  # type: ignore[attr-defined]
    board = WeightBoard.options(name=name, **light).remote(limiter, None, None)  # type: ignore[attr-defined]
    ray.get(board.restore.remote([None], {"student": {}, "version": 0}, None))
    try:
        yield bank, board, name
    finally:
        ray.kill(bank)
        ray.kill(board)


def capacity_of(shape: tuple[int, ...]) -> int:
    """Rounds in the bank for rounds of (B, C, H, W) uint8."""
    return max(min(CAPACITY, BANK_BYTES // math.prod(shape)), 2)


def processor_seconds(pids: dict[str, list[int]]) -> dict[str, float]:
    """CPU seconds, user and system, that each group of processes has used so far."""
    seconds = {}
    for name, group in pids.items():
        used = [psutil.Process(pid).cpu_times() for pid in group]
        seconds[name] = sum(times.user + times.system for times in used)
    return seconds


def pid_of(actor: Any) -> int:
    """Process id of an actor."""
    return int(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


def ray_processes() -> dict[str, list[int]]:
    """Process ids of the raylet and the GCS that this driver started."""
    children = psutil.Process().children(recursive=True)
    named = {"raylet": "raylet", "gcs": "gcs_server"}
    return {
        name: [child.pid for child in children if child.name().startswith(binary)]
        for name, binary in named.items()
    }


def busy_seconds() -> float:
    """Processor seconds that all processes of this machine have used so far."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


@dataclass(frozen=True)
class Roles:
    """Sleeping synthesizers and a trainer, for several loads of one shape."""

    actors: list[Any]
    trainer: Any
    seconds: float
    """Sleep per batch."""
    shape: tuple[int, ...]
    """Of a batch, (B, C, H, W) uint8."""
    start: float
    """Seconds that the actors took to start."""


@contextmanager
def roles(processes: int, seconds: float, shape: tuple[int, ...]) -> Iterator[Roles]:
    """Start `processes` sleeping synthesizers and a trainer; stop them at the end."""
    began = time.time()
    actors = [SleepingActor.remote(None, seconds, shape) for _ in range(processes)]  # type: ignore[attr-defined]
    trainer = Trainer.remote(shape)  # type: ignore[attr-defined]
    try:
        ray.get([actor.ready.remote() for actor in (*actors, trainer)])
        yield Roles(actors, trainer, seconds, shape, time.time() - began)
    finally:
        for actor in (*actors, trainer):
            ray.kill(actor)


def measure(synthesizers: int, processes: int, batches: int, by: Roles) -> dict[str, Any]:
    """Send `batches` through the bank; measure rate, references per grant and CPU seconds.

    Args:
        synthesizers: number of synthesizers for dispatcher, bank and board.
        processes: number of processes that run or simulate them.
        batches: total number of batches.
        by: synthesizers, of which the first `processes` are used, and the trainer.
    """
    capacity, actors = capacity_of(by.shape), by.actors[:processes]
    with bank_and_board(batches, min(batches, capacity), capacity) as (bank, board, name):
        ray.get([actor.join.remote(name) for actor in actors])
        pids = {
            "driver": [os.getpid()],
            "bank": [pid_of(bank)],
            "board": [pid_of(board)],
            "trainer": [pid_of(by.trainer)],
            "synthesizer": [pid_of(actor) for actor in actors],
            **ray_processes(),
        }
        simulated = [actors[index % processes] for index in range(synthesizers)]
        dispatcher = Dispatcher(bank, board, simulated, History(capacity))
        before, began, busy = processor_seconds(pids), time.time(), busy_seconds()
        counts = drive(dispatcher, by.trainer.follow.remote(bank, batches))
        after, ended, busy = processor_seconds(pids), time.time(), busy_seconds() - busy
    rate = batches / (counts["ended"] - began)
    own = {part: after[part] - before[part] for part in after}
    return {
        "side": by.shape[-1],
        "synthesizers": synthesizers,
        "processes": processes,
        "seconds": by.seconds,
        "batches": batches,
        "ahead": min(batches, capacity),
        "rate": rate,
        "share": rate * by.seconds / synthesizers,
        "references": batches / counts["grants"],
        "image_bytes": math.prod(by.shape) + counts["copied"] / batches,
        "start": by.start / len(by.actors),
        "others": max(busy - sum(own.values()), 0.0) / (ended - began),
        **{part: 1e3 * used / batches for part, used in own.items()},
    }
