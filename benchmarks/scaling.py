"""Throughput of the control plane: batches/s through dispatcher, bank and board.

    python -m benchmarks.scaling [--seconds 0.25] [--most 64]

Synthesizers sleep (`sleeping_actor.py`) and return CIFAR-sized batches. The dispatcher, the bank,
the board and the trainer's `BankLoader` are the real ones. Up to 64 synthesizers have their own
processes. More of them are simulated by a few processes, which gives driver and bank the load of
1,000 synthesizers. The CPU seconds per batch of each part give the limit of its throughput.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import ray
from torch import Tensor

from benchmarks.load_results import write
from benchmarks.sleeping_actor import SleepingActor
from fastdfkd.core.clock import Clock
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.platform.cluster import connect
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.history import History
from fastdfkd.platform.placement import on_driver_node
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import SampleBank
from fastdfkd.platform.weight_board import WeightBoard
from fastdfkd.trainers.bank_loader import BankLoader

SHAPE = (256, 3, 32, 32)
CAPACITY = 1000
"""Most rounds in the bank; synthesis is at most half of them ahead of the trainer, so that no round
is removed before the trainer has read it."""
BANK_BYTES = 10**9
"""Most bytes in the bank, because all object stores of this machine share its memory."""
PROCESSES = 8
"""Number of processes that simulate synthesizers in the last rows."""

COLUMNS = {
    "synthesizers": ("synthesizers", "d"),
    "processes": ("processes", "d"),
    "batches": ("batches", "d"),
    "rate": ("batches/s", ".1f"),
    "share": ("of what the sleep allows", ".0%"),
    "references": ("references a grant", ".1f"),
    "image_bytes": ("image bytes copied a batch", ",.0f"),
    "driver": ("driver, ms CPU a batch", ".2f"),
    "bank": ("bank, ms", ".2f"),
    "board": ("board, ms", ".2f"),
    "trainer": ("trainer, ms", ".2f"),
    "synthesizer": ("synthesizers, ms", ".2f"),
    "raylet": ("raylet, ms", ".2f"),
    "gcs": ("GCS, ms", ".2f"),
    "start": ("start of the actors, s", ".1f"),
}


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
        while not ray.wait([counts_ref], timeout=0.1)[0]:
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


def measure(synthesizers: int, processes: int, seconds: float, batches: int) -> dict[str, Any]:
    """Send `batches` through the bank; measure rate, references per grant and CPU seconds.

    Args:
        synthesizers: number of synthesizers for dispatcher, bank and board.
        processes: number of processes that run or simulate them.
        seconds: sleep per batch.
        batches: total number of batches.
    """
    with bank_and_board(batches, batches, CAPACITY) as (bank, board, name):
        starting = time.time()
        actors = [SleepingActor.remote(name, seconds, SHAPE) for _ in range(processes)]  # type: ignore[attr-defined]
        trainer = Trainer.remote(SHAPE)  # type: ignore[attr-defined]
        pids = {
            "driver": [os.getpid()],
            "bank": [pid_of(bank)],
            "board": [pid_of(board)],
            "trainer": [pid_of(trainer)],
            "synthesizer": [pid_of(actor) for actor in actors],
            **ray_processes(),
        }
        started = time.time()
        simulated = [actors[index % processes] for index in range(synthesizers)]
        dispatcher = Dispatcher(bank, board, simulated, History(CAPACITY))
        before, began = processor_seconds(pids), time.time()
        counts = drive(dispatcher, trainer.follow.remote(bank, batches))
        after = processor_seconds(pids)
        for actor in [*actors, trainer]:
            ray.kill(actor)
    rate = batches / (counts["ended"] - began)
    return {
        "synthesizers": synthesizers,
        "processes": processes,
        "seconds": seconds,
        "batches": batches,
        "rate": rate,
        "share": rate * seconds / synthesizers,
        "references": batches / counts["grants"],
        "image_bytes": np.prod(SHAPE).item() + counts["copied"] / batches,
        "start": started - starting,
        **{part: 1e3 * (after[part] - before[part]) / batches for part in after},
    }


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Notes that explain the table and extrapolate its largest row of real processes."""
    row = max((row for row in rows if row["processes"] == row["synthesizers"]), key=_size)
    parts = ("driver", "bank", "board", "trainer")
    limits = {part: 1e3 / row[part] for part in parts}
    bottleneck = min(parts, key=lambda part: limits[part])
    total = sum(row[part] for part in (*parts, "synthesizer", "raylet", "gcs"))
    limit_text = ", ".join(f"{part} {limits[part]:,.0f}" for part in parts)
    return [
        "CIFAR-sized batches (256 x 3 x 32 x 32 uint8). Image bytes: one copy into the object "
        "store by the synthesizer, one into the trainer's ring buffer; reading from the store "
        "copies nothing. A call of a synthesizer returns 1 batch and 1 record (more if rounds are "
        "shorter than 50 ms). An insertion names all batches that have arrived, a grant all that "
        "are new. Synthesizers beyond the number of processes are coroutines: they make the calls "
        "of a batch, but are not 1,000 Ray workers.",
        f"**Extrapolation to 1,000 synthesizers.** At the cost per batch of {row['synthesizers']} "
        f"synthesizers, one core of each part can handle (batches/s): {limit_text}. The bottleneck "
        f"is the {bottleneck}, at {limits[bottleneck]:,.0f} batches/s: 1,000 synthesizers are "
        f"possible if a batch takes {1e3 / limits[bottleneck]:.1f} s or more. All parts share the "
        f"cores of this machine ({total:.1f} ms per batch in total), which limits the rows above "
        "before any single part does. On a cluster, synthesizers, raylets and trainers run on "
        "other nodes, while driver, bank and board share the head. Batches do not pass through "
        f"Ray's control plane: the GCS needs {row['gcs']:.2f} ms CPU per batch, and a raylet "
        f"serves only its own node. The start of {row['processes']} actors took "
        f"{row['start']:.0f} s on this machine.",
    ]


def _size(row: dict[str, Any]) -> int:
    return int(row["synthesizers"])


def plan(most: int, seconds: float) -> Iterator[tuple[int, int, int]]:
    """(synthesizers, processes, batches) of each row, with four to eight seconds of sleep."""
    count = 1
    while count <= most:
        yield count, count, max(round((8 if count < 16 else 4) / seconds), 1) * count
        count *= 2
    for simulated in (64, 256, 1000):
        yield simulated, PROCESSES, 2000


def main() -> None:
    """Measure all rows and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.25, help="sleep per batch")
    parser.add_argument(
        "--most", type=int, default=64, help="largest number of synthesizers with own processes"
    )
    options = parser.parse_args()
    rows = []
    with connect():
        for synthesizers, processes, batches in plan(options.most, options.seconds):
            rows.append(measure(synthesizers, processes, options.seconds, batches))
            print(rows[-1], flush=True)
    title = "Control plane by number of synthesizers"
    print("written:", *write("scaling", title, COLUMNS, rows, notes(rows), "seed 0, one run each"))


if __name__ == "__main__":
    main()
