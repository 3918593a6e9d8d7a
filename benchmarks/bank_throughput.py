"""Images through the bank against Ray's bare object store: batches/s, GB/s, and what is added.

    python -m benchmarks.bank_throughput [--blocks 5] [--no-synthesis]

Three ways for the same batches, block by block in turn in one run:

*put/get*   one process: `ray.put`, `ray.get`, into the ring; nobody else involved
*plain*     producer actors return batches, the driver passes references on, a trainer actor gets
            them into its ring: the object store between processes, without a bank
*bank*      the same actors with the real dispatcher, bank, limiter and `BankLoader` between

Copies of a batch are looked at too: where two reads of one reference lie in memory, and what is
copied into the ring.
"""

from __future__ import annotations

import argparse
import operator
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import torch

from benchmarks.cases import pair_case
from benchmarks.load_results import write
from benchmarks.scaling import Trainer, bank_and_board, drive
from benchmarks.sleeping_actor import SleepingActor
from benchmarks.timing import precisions
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.platform.cluster import connect
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.history import History
from fastdfkd.trainers.bank_loader import _as_tensor

CASES = {
    "CIFAR, 256 images": ((256, 3, 32, 32), 400),
    "ImageNet, 50 images": ((50, 3, 224, 224), 100),
    "ImageNet, 256 images": ((256, 3, 224, 224), 24),
}
"""Shape of a batch, and batches of a block."""
CPU = torch.device("cpu")
PRODUCERS = 2
AHEAD = 8
"""Batches on the way to the trainer at most, in every way."""

COLUMNS = {
    "case": ("batch", "s"),
    "megabytes": ("MB", ".1f"),
    "put_get": ("put/get, batches/s", ".1f"),
    "plain": ("plain, batches/s", ".1f"),
    "bank": ("bank, batches/s", ".1f"),
    "gigabytes": ("bank, GB/s", ".2f"),
    "of_plain": ("bank / plain", ".0%"),
    "of_put_get": ("bank / put/get", ".0%"),
    "copies": ("copies of a batch", ".2f"),
    "storage": ("alone through the bank, ms", ".2f"),
    "share": ("of synthesis", ".2%"),
}


@ray.remote(num_cpus=0)
class PlainTrainer:
    """Gets batches by reference into a ring."""

    def __init__(self, shape: tuple[int, ...]):
        self.ring = SampleBuffer(2 * shape[0], shape[1:])

    def ready(self) -> bool:
        """Answers once the actor is there."""
        return True

    def take(self, reference: list[Any]) -> None:
        """Read and keep the images of a list of one reference, which Ray leaves unread."""
        self.ring.extend(_as_tensor(ray.get(reference[0])))


@contextmanager
def roles(shape: tuple[int, ...]) -> Iterator[tuple[list[Any], Any, Any]]:
    """Producers, the plain trainer and the one with a bank, started once for all blocks."""
    producers = [SleepingActor.remote(None, 0.0, shape) for _ in range(PRODUCERS)]  # type: ignore[attr-defined]
    takers = PlainTrainer.remote(shape), Trainer.remote(shape)  # type: ignore[attr-defined]
    try:
        ray.get([one.ready.remote() for one in (*producers, *takers)])
        yield (producers, *takers)
    finally:
        for one in (*producers, *takers):
            ray.kill(one)


def put_get(shape: tuple[int, ...], batches: int) -> float:
    """Batches/s of one process that puts, gets and keeps, one batch after the other."""
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ring = SampleBuffer(2 * shape[0], shape[1:])
    began = time.perf_counter()
    for _ in range(batches):
        ring.extend(_as_tensor(ray.get(ray.put(images))))
    return batches / (time.perf_counter() - began)


def plain(producers: Sequence[Any], trainer: Any, batches: int) -> float:
    """Batches/s with nothing but Ray between producers and trainer.

    As with the bank, a call is in the air for each producer, and `AHEAD` batches are on the way at
    most.
    """
    began = time.perf_counter()
    made = {actor.make.remote(): actor for actor in producers}
    asked, taking = len(made), deque[Any]()
    for _ in range(batches):
        ready = ray.wait(list(made), num_returns=1, fetch_local=False)[0][0]
        actor = made.pop(ready)
        if asked < batches:
            made[actor.make.remote()] = actor
            asked += 1
        taking.append(trainer.take.remote([ready]))
        if len(taking) >= AHEAD:
            ray.get(taking.popleft())
    ray.get(list(taking))
    return batches / (time.perf_counter() - began)


def through_bank(
    producers: Sequence[Any], trainer: Any, batches: int, ahead: int = AHEAD
) -> dict[str, float]:
    """Batches/s through dispatcher, bank and loader, and what the trainer counted."""
    with bank_and_board(batches, ahead, 2 * ahead) as (bank, board, _):
        ray.get(bank.state.remote())
        dispatcher = Dispatcher(bank, board, producers, History(2 * ahead))
        began = time.time()
        found = drive(dispatcher, trainer.follow.remote(bank, batches))
    stored = statistics.median(one.storage_seconds for one in dispatcher.totals.records)
    return {
        **found,
        "rate": batches / (found["ended"] - began),
        "storage_seconds": stored + found["storage"] / batches,
    }


def reads_without_copy(shape: tuple[int, ...]) -> bool:
    """Whether two reads of one reference are the same memory."""
    reference = ray.put(np.zeros(shape, np.uint8))
    first, second = ray.get(reference), ray.get(reference)
    return bool(first.ctypes.data == second.ctypes.data)


def synthesis_seconds() -> float:
    """Wall seconds of a real Fast-5 batch of 256 CIFAR-sized images, WRN-40-2 teacher."""
    case = pair_case("wrn-40-2/wrn-16-1", CPU, 256, 5, 256)
    synthesizer = case.synthesizer("auto")
    began = time.perf_counter()
    synthesizer.synthesize(0)
    return time.perf_counter() - began


def measure(case: str, blocks: int) -> dict[str, Any]:
    """All three ways of a case in turn; medians over the blocks, of ratios those of each block."""
    shape, batches = CASES[case]
    size = int(np.prod(shape))
    rates: dict[str, list[float]] = {"put_get": [], "plain": [], "bank": []}
    with roles(shape) as (producers, taker, trainer):
        plain(producers, taker, 2 * PRODUCERS)  # so that nobody imports anything in the first block
        through_bank(producers, trainer, 2 * PRODUCERS)
        for _ in range(blocks):
            rates["put_get"].append(put_get(shape, batches))
            rates["plain"].append(plain(producers, taker, batches))
            found = through_bank(producers, trainer, batches)
            rates["bank"].append(found["rate"])
        alone = through_bank(producers[:1], trainer, max(batches // 4, 10), ahead=1)
    median = {way: statistics.median(values) for way, values in rates.items()}
    of_plain, of_put_get = (
        statistics.median(map(operator.truediv, rates["bank"], rates[way]))
        for way in ("plain", "put_get")
    )
    into_store = 1 if reads_without_copy(shape) else 2
    return {
        "case": case,
        "megabytes": size / 1e6,
        **median,
        "gigabytes": median["bank"] * size / 1e9,
        "of_plain": of_plain,
        "of_put_get": of_put_get,
        "copies": into_store + found["copied"] / batches / size,
        "storage": 1e3 * alone["storage_seconds"],
        "all": rates,
    }


def notes(rows: Sequence[dict[str, Any]], synthesis: float | None) -> list[str]:
    """What the columns mean."""
    worst = min(row["of_plain"] for row in rows)
    said = [
        f"{PRODUCERS} producers without compute, one trainer, {AHEAD} batches on the way at most, "
        "medians over blocks in turn. put/get is one process that talks to nobody; plain is the "
        "same producer, driver and trainer processes as the bank's way, with the driver handing "
        "references on. The bank's way adds dispatcher, bank and limiter (the board carries "
        f"weights, not images): at worst {worst:.0%} of plain.",
        "Copies: one into the object store where the batch is made, none on reading (two reads of "
        "a reference are the same memory), one into the trainer's ring on its device. Alone: "
        "finished batch to reference in the bank, and reading it into the ring, with one producer "
        "in lock-step with the trainer, so that nothing overlaps.",
    ]
    if synthesis is not None:
        said.append(
            "Of synthesis: against a real Fast-5 batch of 256 images of 3x32x32 with a WRN-40-2 "
            f"teacher and a WRN-16-1 student in {precisions(CPU)[-1]} in the same run, "
            f"{synthesis:.2f} s. No "
            "recipe synthesises ImageNet yet; its storage stays below 5 % where a batch takes "
            + " and ".join(
                f"{row['storage'] / 50:.2f} s or more ({row['case']})"
                for row in rows
                if "ImageNet" in row["case"]
            )
            + "."
        )
    return said


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--no-synthesis", action="store_true", help="leave the real batch out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    synthesis = None if options.no_synthesis else synthesis_seconds()
    rows = []
    with connect():
        for case in CASES:
            rows.append(measure(case, options.blocks))
            if synthesis is not None and "CIFAR" in case:
                rows[-1]["share"] = rows[-1]["storage"] / 1e3 / synthesis
            print(rows[-1], flush=True)
    title = "Images through the bank"
    text = notes(rows, synthesis)
    seed = f"seed 0, medians of {options.blocks} blocks"
    print("written:", *write("bank_throughput", title, COLUMNS, rows, text, seed))


if __name__ == "__main__":
    main()
