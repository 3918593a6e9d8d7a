"""What the bank's path costs over Ray's bare object store.

    python -m benchmarks.bank_throughput [--batches 40]

A batch goes put -> bank.insert -> bank.grant -> get -> ring buffer, against put -> get -> ring
buffer alone, alternated in one process. Copies of the images on either path: one into the store
(the process boundary), none out of it (get is a view), one into the ring on the trainer's device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

from fastdfkd.core.clock import Clock
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.platform.cluster import connect
from fastdfkd.platform.rate_limiter import RateLimiter

SHAPES = {"CIFAR, 256 images": (256, 3, 32, 32), "ImageNet, 100 images": (100, 3, 224, 224)}


def measure(shape: tuple[int, ...], batches: int) -> dict[str, float]:
    """Median wall milliseconds of a batch, both ways."""
    import ray

    from fastdfkd.platform.sample_bank import SampleBank
    from fastdfkd.trainers.bank_loader import BankLoader, _as_tensor

    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    limiter = RateLimiter(
        rounds=batches, warmup_rounds=0, updates_per_round=1, tolerance=batches, wave=1
    )
    bank: Any = SampleBank.remote(limiter, batches)
    ray.get(bank.restore.remote([], 0, []))
    rings = [SampleBuffer(2 * shape[0], shape[1:]) for _ in range(2)]
    loader = BankLoader(bank, rings[0], Clock(), batch_size=shape[0], leader=True)
    taken: dict[str, list[float]] = {"bank": [], "plain": []}
    for round in range(batches):
        start = time.perf_counter()
        ray.get(bank.reserve.remote(0))
        ray.get(bank.insert.remote(round, [ray.put(images)]))
        loader.advance(round)
        middle = time.perf_counter()
        rings[1].extend(_as_tensor(ray.get(ray.put(images))))
        taken["bank"].append(middle - start)
        taken["plain"].append(time.perf_counter() - middle)
    ray.kill(bank)
    return {name: 1e3 * statistics.median(times[2:]) for name, times in taken.items()}


def main() -> None:
    """Print both for each shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    with connect():
        for name, shape in SHAPES.items():
            found = measure(shape, options.batches)
            print(
                f"{name}: bank {found['bank']:.2f} ms, plain put/get {found['plain']:.2f} ms, "
                f"bank adds {found['bank'] - found['plain']:.2f} ms"
            )


if __name__ == "__main__":
    main()
