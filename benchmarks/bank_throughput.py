"""Throughput of images through the bank, compared with Ray's object store alone.

    python -m benchmarks.bank_throughput [--blocks 5] [--no-synthesis]

Three methods carry the same batches. They alternate block by block in one run:

*put/get*   one process: `ray.put`, `ray.get`, copy into the ring buffer
*plain*     producer actors return batches, the driver passes the references to a trainer actor,
            which copies the batches into its ring buffer: the object store without a bank
*bank*      the same actors, with the real dispatcher, bank, rate limiter and `BankLoader`

The copies of a batch are counted too: the benchmark compares the addresses of two reads of one
reference, and counts the bytes that are copied into the ring buffer.
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
from benchmarks.scaling_run import Trainer, bank_and_board, drive
from benchmarks.sleeping_actor import SleepingActor
from benchmarks.timing import precisions
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.platform.cluster import connect
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.history import History
from fastdfkd.trainers.bank_loader import as_tensor

CASES = {
    "CIFAR, 256 images": ((256, 3, 32, 32), 400),
    "ImageNet, 50 images": ((50, 3, 224, 224), 100),
    "ImageNet, 256 images": ((256, 3, 224, 224), 24),
}
"""Shape of a batch, and number of batches per block."""
CPU = torch.device("cpu")
PRODUCERS = 2
AHEAD = 8
"""Most batches on their way to the trainer at the same time, for all methods."""

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
    """Copies batches from references into a ring buffer."""

    def __init__(self, shape: tuple[int, ...]):
        self.ring = SampleBuffer(2 * shape[0], shape[1:])

    def ready(self) -> bool:
        """Return once the actor has started."""
        return True

    def take(self, reference: list[Any]) -> None:
        """Copy the images of a reference. It is in a list, so that Ray does not resolve it."""
        self.ring.extend(as_tensor(ray.get(reference[0])))


@contextmanager
def roles(shape: tuple[int, ...]) -> Iterator[tuple[list[Any], Any, Any]]:
    """Start producers, plain trainer and bank trainer once for all blocks."""
    producers = [SleepingActor.remote(None, 0.0, shape) for _ in range(PRODUCERS)]  # type: ignore[attr-defined]
    trainers = PlainTrainer.remote(shape), Trainer.remote(shape)  # type: ignore[attr-defined]
    try:
        ray.get([actor.ready.remote() for actor in (*producers, *trainers)])
        yield (producers, *trainers)
    finally:
        for actor in (*producers, *trainers):
            ray.kill(actor)


def put_get(shape: tuple[int, ...], batches: int) -> float:
    """Batches/s of one process that puts, gets and copies one batch after the other."""
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ring = SampleBuffer(2 * shape[0], shape[1:])
    began = time.perf_counter()
    for _ in range(batches):
        ring.extend(as_tensor(ray.get(ray.put(images))))
    return batches / (time.perf_counter() - began)


def plain(producers: Sequence[Any], trainer: Any, batches: int) -> float:
    """Batches/s with only Ray between producers and trainer.

    As with the bank, each producer has one call in flight, and at most `AHEAD` batches are on
    their way.
    """
    began = time.perf_counter()
    in_flight = {actor.make.remote(): actor for actor in producers}
    requested, taking = len(in_flight), deque[Any]()
    for _ in range(batches):
        ready = ray.wait(list(in_flight), num_returns=1, fetch_local=False)[0][0]
        actor = in_flight.pop(ready)
        if requested < batches:
            in_flight[actor.make.remote()] = actor
            requested += 1
        taking.append(trainer.take.remote([ready]))
        if len(taking) >= AHEAD:
            ray.get(taking.popleft())
    ray.get(list(taking))
    return batches / (time.perf_counter() - began)


def through_bank(
    producers: Sequence[Any], trainer: Any, batches: int, ahead: int = AHEAD
) -> dict[str, float]:
    """Batches/s (`rate`) through dispatcher, bank and loader, and the trainer's counts."""
    with bank_and_board(batches, ahead, 2 * ahead) as (bank, board, _):
        ray.get(bank.state.remote())
        dispatcher = Dispatcher(bank, board, producers, History(2 * ahead))
        began = time.time()
        counts = drive(dispatcher, trainer.follow.remote(bank, batches))
    stored = statistics.median(record.storage_seconds for record in dispatcher.totals.records)
    return {
        **counts,
        "rate": batches / (counts["ended"] - began),
        "storage_seconds": stored + counts["storage"] / batches,
    }


def reads_without_copy(shape: tuple[int, ...]) -> bool:
    """Whether two reads of one reference return the same memory."""
    reference = ray.put(np.zeros(shape, np.uint8))
    first, second = ray.get(reference), ray.get(reference)
    return bool(first.ctypes.data == second.ctypes.data)


def synthesis_seconds() -> float:
    """Wall seconds of a real Fast-5 batch: 256 CIFAR-sized images, WRN-40-2 teacher."""
    case = pair_case("wrn-40-2/wrn-16-1", CPU, 256, 5, 256)
    synthesizer = case.synthesizer("auto")
    began = time.perf_counter()
    synthesizer.synthesize(0)
    return time.perf_counter() - began


def measure(case: str, blocks: int) -> dict[str, Any]:
    """Measure the three methods in turn; medians over blocks, ratios within each block."""
    shape, batches = CASES[case]
    size = int(np.prod(shape))
    rates: dict[str, list[float]] = {"put_get": [], "plain": [], "bank": []}
    with roles(shape) as (producers, taker, trainer):
        plain(producers, taker, 2 * PRODUCERS)  # warm-up: imports are not part of the first block
        through_bank(producers, trainer, 2 * PRODUCERS)
        for _ in range(blocks):
            rates["put_get"].append(put_get(shape, batches))
            rates["plain"].append(plain(producers, taker, batches))
            through = through_bank(producers, trainer, batches)
            rates["bank"].append(through["rate"])
        alone = through_bank(producers[:1], trainer, max(batches // 4, 10), ahead=1)
    median = {method: statistics.median(values) for method, values in rates.items()}
    of_plain, of_put_get = (
        statistics.median(map(operator.truediv, rates["bank"], rates[method]))
        for method in ("plain", "put_get")
    )
    store_copies = 1 if reads_without_copy(shape) else 2
    return {
        "case": case,
        "megabytes": size / 1e6,
        **median,
        "gigabytes": median["bank"] * size / 1e9,
        "of_plain": of_plain,
        "of_put_get": of_put_get,
        "copies": store_copies + through["copied"] / batches / size,
        "storage": 1e3 * alone["storage_seconds"],
        "all": rates,
    }


def notes(rows: Sequence[dict[str, Any]], synthesis: float | None) -> list[str]:
    """Notes that explain the columns."""
    worst = min(row["of_plain"] for row in rows)
    paragraphs = [
        f"{PRODUCERS} producers without compute, one trainer, at most {AHEAD} batches on their "
        "way, medians over alternating blocks. put/get is a single process. plain uses the same "
        "producer, driver and trainer processes as bank; the driver passes the references on. bank "
        "adds dispatcher, bank and rate limiter (the board carries weights, not images): at worst "
        f"{worst:.0%} of plain.",
        "Copies: one into the object store on the node of the producer, none on reading (two reads "
        "of a reference return the same memory), one into the trainer's ring buffer on its device. "
        "Alone: from the finished batch to its reference in the bank, plus reading it into the "
        "ring buffer, with one producer in lock-step with the trainer, so that nothing overlaps.",
    ]
    if synthesis is not None:
        paragraphs.append(
            "Of synthesis: storage as a share of a real Fast-5 batch of 256 images of 3x32x32 with "
            f"a WRN-40-2 teacher and a WRN-16-1 student in {precisions(CPU)[-1]} in the same run, "
            f"{synthesis:.2f} s. No "
            "recipe synthesises ImageNet yet; its storage stays below 5 % if a batch takes "
            + " and ".join(
                f"{row['storage'] / 50:.2f} s or more ({row['case']})"
                for row in rows
                if "ImageNet" in row["case"]
            )
            + "."
        )
    return paragraphs


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--no-synthesis", action="store_true", help="skip the real Fast-5 batch")
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
