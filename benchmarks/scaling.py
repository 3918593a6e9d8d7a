"""What the control plane carries: batches/s through dispatcher, bank and board by synthesizers.

    python -m benchmarks.scaling [--seconds 0.25] [--most 64]

Synthesizers sleep (`sleeping_actor.py`) and return CIFAR-sized batches; the dispatcher, the bank,
the board and a trainer's `BankLoader` are the real ones. Up to 64 synthesizers are processes of
their own; beyond that a few processes play them, which shows driver and bank what they would see of
1,000. The seconds of processor that each part needs for a batch say where its own ceiling is.
"""

from __future__ import annotations

import argparse
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
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import SampleBank
from fastdfkd.platform.weight_board import WeightBoard
from fastdfkd.trainers.bank_loader import BankLoader

SHAPE = (256, 3, 32, 32)
CAPACITY = 1000
"""Rounds that the bank holds: more than a run makes before its trainer has seen them."""
PROCESSES = 8
"""That play the synthesizers beyond those with a process of their own."""

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
    """A ring that counts what is copied into it."""

    copied = 0
    """Bytes."""

    def extend(self, images: Tensor) -> None:
        """Add images, and their bytes to `copied`."""
        super().extend(images)
        self.copied += images.nbytes


@ray.remote(num_cpus=0)
class Trainer:
    """Takes in all batches through the real loader; its updates cost nothing."""

    def __init__(self, shape: tuple[int, ...]):
        self.ring = CountingBuffer(2 * shape[0], shape[1:])
        self.batch_size = shape[0]

    def ready(self) -> bool:
        """Answers once the actor is there."""
        return True

    def follow(self, bank: Any, batches: int) -> dict[str, float]:
        """Ask until every batch is in the ring."""
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


def drive(dispatcher: Dispatcher, following: Any) -> dict[str, float]:
    """Dispatch until the trainer has all; evicted images are let go as the run's monitor does."""
    with dispatcher:
        while not ray.wait([following], timeout=0.1)[0]:
            dispatcher.history.evict(len(dispatcher.history))
        found = dict(ray.get(following))
    if dispatcher.error is not None:
        raise dispatcher.error
    return found


@contextmanager
def bank_and_board(batches: int, tolerance: int, capacity: int) -> Iterator[tuple[Any, Any, str]]:
    """Both actors as `actors.start` makes them, and the board's name.

    Args:
        batches: rounds of the run; an update each.
        tolerance: rounds that synthesizers may be ahead.
        capacity: rounds that the bank holds.
    """
    limiter = RateLimiter(
        rounds=batches,
        warmup_rounds=0,
        updates_per_round=1,
        tolerance=tolerance,
        wave=1,
        publish_every=1,
    )
    name = f"board-{uuid.uuid4().hex}"
    bank = SampleBank.options(max_concurrency=1000).remote(limiter, capacity)  # type: ignore[attr-defined]
    board = WeightBoard.options(name=name).remote(limiter, None, None)  # type: ignore[attr-defined]
    ray.get(board.restore.remote([None], {"student": {}, "version": 0}, None))
    try:
        yield bank, board, name
    finally:
        ray.kill(bank)
        ray.kill(board)


def processor_seconds(pids: dict[str, list[int]]) -> dict[str, float]:
    """User and system seconds of groups of processes so far."""
    times = {}
    for name, group in pids.items():
        used = [psutil.Process(pid).cpu_times() for pid in group]
        times[name] = sum(one.user + one.system for one in used)
    return times


def pid_of(actor: Any) -> int:
    """Process id of an actor."""
    return int(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


def ray_processes() -> dict[str, list[int]]:
    """Process ids of this machine's raylet and GCS, which the driver started."""
    children = psutil.Process().children(recursive=True)
    named = {"raylet": "raylet", "gcs": "gcs_server"}
    return {
        name: [child.pid for child in children if child.name().startswith(binary)]
        for name, binary in named.items()
    }


def measure(synthesizers: int, processes: int, seconds: float, batches: int) -> dict[str, Any]:
    """Drive `batches` through the bank; rate, references a grant, and who used the processor.

    Args:
        synthesizers: as dispatcher, bank and board see them.
        processes: that play them.
        seconds: sleep of a batch.
        batches: in all.
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
        players = [actors[index % processes] for index in range(synthesizers)]
        dispatcher = Dispatcher(bank, board, players, History(CAPACITY))
        before, began = processor_seconds(pids), time.time()
        found = drive(dispatcher, trainer.follow.remote(bank, batches))
        after = processor_seconds(pids)
        for actor in [*actors, trainer]:
            ray.kill(actor)
    rate = batches / (found["ended"] - began)
    return {
        "synthesizers": synthesizers,
        "processes": processes,
        "seconds": seconds,
        "batches": batches,
        "rate": rate,
        "share": rate * seconds / synthesizers,
        "references": batches / found["grants"],
        "image_bytes": np.prod(SHAPE).item() + found["copied"] / batches,
        "start": started - starting,
        **{part: 1e3 * (after[part] - before[part]) / batches for part in after},
    }


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """The extrapolation to 1,000 synthesizers, from the largest row of real processes."""
    row = max((row for row in rows if row["processes"] == row["synthesizers"]), key=_size)
    parts = ("driver", "bank", "board", "trainer")
    ceilings = {part: 1e3 / row[part] for part in parts}
    first = min(parts, key=lambda part: ceilings[part])
    total = sum(row[part] for part in (*parts, "synthesizer", "raylet", "gcs"))
    said = ", ".join(f"{part} {ceilings[part]:,.0f}" for part in parts)
    return [
        "CIFAR-sized batches (256 x 3 x 32 x 32 uint8). Image bytes: one copy into the object "
        "store by the synthesizer, one into the trainer's ring; reading the store is a view. A "
        "synthesizer's call returns 1 batch and 1 record (more only where rounds are shorter than "
        "50 ms); an insertion names all that came together, a grant all that is new. Synthesizers "
        "beyond the processes are played by coroutines of theirs; only the calls of a batch are "
        "theirs then, not 1,000 Ray workers.",
        f"**To 1,000 synthesizers.** One processor's worth of each part, at {row['synthesizers']} "
        f"synthesizers' cost a batch, carries (batches/s): {said}. The {first} is the first to be "
        f"full, at {ceilings[first]:,.0f} batches/s: 1,000 synthesizers fit if a batch takes them "
        f"{1e3 / ceilings[first]:.1f} s or more. All parts share this machine's processors "
        f"({total:.1f} ms a batch together): the rows above stop growing at that, before any "
        "single part is full. On a cluster the synthesizers', raylets' and trainers' share is on "
        "other nodes, while the driver, the bank and the board share the head. Ray itself is not "
        f"on a batch's way: the GCS needs {row['gcs']:.2f} ms of processor a batch, a raylet "
        f"serves its own node alone; starting {row['processes']} actors took this machine "
        f"{row['start']:.0f} s.",
    ]


def _size(row: dict[str, Any]) -> int:
    return int(row["synthesizers"])


def plan(most: int, seconds: float) -> Iterator[tuple[int, int, int]]:
    """(synthesizers, processes, batches) of each row: four to eight seconds of sleep each."""
    count = 1
    while count <= most:
        yield count, count, max(round((8 if count < 16 else 4) / seconds), 1) * count
        count *= 2
    for played in (64, 256, 1000):
        yield played, PROCESSES, 2000


def main() -> None:
    """Measure all rows and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.25, help="sleep of a batch")
    parser.add_argument("--most", type=int, default=64, help="processes of their own")
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
