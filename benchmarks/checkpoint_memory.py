"""The driver's memory while the images of a checkpoint are written.

    python -m benchmarks.checkpoint_memory [--rounds 140] [--folder FOLDER]

Rounds of 100 images of 224 pixels are in Ray's object store. They are written to one segment by a
task (`platform/segment_writer.py`), and as releases before it did: all fetched by the driver, then
`save_state`. Prints seconds, and by how much the peak of the driver's resident memory is above what
it had before. Pages of the object store that the driver maps count in it.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray

from fastdfkd.platform import cluster
from fastdfkd.platform.segment_writer import SegmentWriter
from fastdfkd.runs.files import draft_of
from fastdfkd.trainers.state_file import save_state

SHAPE = (100, 3, 224, 224)


@ray.remote(num_cpus=1)
def make(number: int) -> np.ndarray:
    """Images of a round."""
    draws = np.random.default_rng(number)
    return draws.integers(256, size=SHAPE, dtype=np.uint8)


def memory(name: str) -> int:
    """Bytes of a line of this process's status: `VmRSS`, or its peak `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) * 1024


def measure(name: str, write: Callable[[], object]) -> None:
    """Print the seconds and the peak of a block."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use
    before, start = memory("VmRSS"), time.monotonic()
    write()
    seconds, above = time.monotonic() - start, memory("VmHWM") - before
    print(f"{name}: {seconds:.1f} s, peak {above / 1e6:,.0f} MB above {before / 1e6:,.0f} MB")


def main() -> None:
    """Make the rounds and write them in both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=140)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    a_round = int(np.prod(SHAPE))
    with cluster.connect(), tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        images = {number: make.remote(number) for number in range(given.rounds)}
        ray.wait(list(images.values()), num_returns=len(images), fetch_local=False)
        print(f"{len(images)} rounds, {len(images) * a_round / 1e9:.2f} GB")
        writer = SegmentWriter(ray.get_runtime_context().get_node_id(), a_round)

        def by_task() -> None:
            with draft_of(folder / "ours") as draft:
                writer(draft, images)

        def in_the_driver() -> None:
            all_images: dict[str, Any] = {"rounds": list(images)}
            all_images["images"] = [ray.get(each) for each in images.values()]
            save_state(folder / "whole", all_images)
            digest(folder / "whole")

        measure("by a task", by_task)
        measure("in the driver", in_the_driver)
        same = digest(folder / "ours") == digest(folder / "whole")
        print("the files are equal" if same else "the files DIFFER")


def digest(path: Path) -> str:
    """SHA-256 of a file, as a manifest has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
