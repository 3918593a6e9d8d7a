"""Updates of a student with the bank in device memory, host memory or on disk, and its memory.

    python -m benchmarks.bank_location [--device cuda] [--images 20000] [--batch 100] [--blocks 20]

Each place has a student of its own. All draw the same images, so the students stay equal, which is
checked at the end. Blocks of updates alternate between the places. A process of its own for each
place fills a bank, draws batches and says how much memory it took.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.load_results import write
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.memory import forget_peak_memory, peak_memory_bytes
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.data import NothingHeldOut
from fastdfkd.experiment import Experiment
from fastdfkd.models import open_network
from fastdfkd.recipe import BankSection, load_recipe
from fastdfkd.trainers.bank_location import located_buffer

SHAPE = (3, 224, 224)
PLACES = ("device", "host", "disk")
A_ROUND = 100
"""Images of an insertion."""

COLUMNS = {
    "place": ("bank.location", "s"),
    "updates": ("updates/s", ".3f"),
    "of_device": ("of device", ".1%"),
    "draw": ("a draw, ms", ".2f"),
    "own": ("memory of the process's own, MB", ",.0f"),
    "resident": ("with mapped pages, MB", ",.0f"),
    "gpu": ("GPU memory, MB", ",.0f"),
}


def filled(place: str, images: int, device: torch.device) -> SampleBuffer:
    """A full bank of random images, the same in all places."""
    buffer, location = located_buffer(BankSection(location=place), images, SHAPE, device)
    print(location.line, file=sys.stderr)
    for start in range(0, images, A_ROUND):
        draws = torch.Generator().manual_seed(start)
        count = min(A_ROUND, images - start)
        buffer.extend(torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=draws))
    return buffer


def memory(place: str, images: int, batch: int, device: torch.device) -> dict[str, float]:
    """Memory that a bank and fifty draws take in this process, in bytes."""
    draws = torch.Generator(device).manual_seed(0)
    torch.rand(1, device=device)
    before, own = forget_peak_memory(), _own_bytes()
    buffer = filled(place, images, device)
    for _ in range(50):
        buffer.draw(batch, draws)
    figures = {"resident": float(peak_memory_bytes() - before), "own": float(_own_bytes() - own)}
    figures["gpu"] = float(peak_memory_bytes(device)) if device.type == "cuda" else 0.0
    return figures


def _own_bytes() -> int:
    """Resident memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def distiller(teacher: str, student: str, batch: int, device: torch.device) -> StudentDistiller:
    """A student that does not depend on where the bank is."""
    recipe = load_recipe(
        "digits-fast5",
        {
            "data.name": "none",
            "input.shape": list(SHAPE),
            "input.classes": 1000,
            "input.normalisation": "imagenet",
            "teacher.model": teacher,
            "student.model": student,
            "distillation.batch_size": batch,
            "distillation.teacher_cache": None,
            "synthesis.bn": 0.0,
            "platform.precision": "auto",
        },
    )
    from fastdfkd.experiment import image_spec

    network = open_network(recipe.teacher, image_spec(recipe)).eval().requires_grad_(False)
    return Experiment.of(recipe, network, device.type, NothingHeldOut()).distiller(device)


def measured(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """A row for each place."""
    names = options.teacher, options.student
    students = {place: distiller(*names, options.batch, device) for place in PLACES}
    banks = {place: filled(place, options.images, device) for place in PLACES}
    seconds: dict[str, list[float]] = {place: [] for place in PLACES}
    draws: dict[str, list[float]] = {place: [] for place in PLACES}
    for block in range(options.blocks + 1):
        for place in PLACES:
            spent = _timed(device, lambda p=place: _updates(students[p], banks[p], options.updates))
            randomness = torch.Generator(device).manual_seed(block)
            drawn = _timed(
                device,
                lambda p=place, r=randomness: banks[p].draw(options.batch, r),
            )
            if block:  # the first warms up
                seconds[place].append(spent / options.updates)
                draws[place].append(drawn)
    states = [student.student_state() for student in students.values()]
    for name, tensor in states[0].items():
        assert all(torch.equal(tensor, other[name]) for other in states), f"{name} differs"
    one = {place: statistics.median(each) for place, each in seconds.items()}
    return [
        {
            "place": place,
            "updates": 1 / one[place],
            "of_device": one["device"] / one[place],
            "draw": 1e3 * statistics.median(draws[place]),
            **{key: value / 1e6 for key, value in _memory_of(place, options).items()},
        }
        for place in PLACES
    ]


def _updates(student: StudentDistiller, bank: SampleBuffer, count: int) -> None:
    for _ in range(count):
        student.update(bank)


def _timed(device: torch.device, work: Any) -> float:
    """Wall seconds of a call, until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _memory_of(place: str, options: argparse.Namespace) -> Mapping[str, float]:
    """`memory` in a process of its own."""
    words = ["--memory", place, "--images", str(options.images), "--batch", str(options.batch)]
    command = [sys.executable, "-m", "benchmarks.bank_location", *words, "--device", options.device]
    found: Mapping[str, float] = json.loads(subprocess.check_output(command, text=True))
    return found


def notes(options: argparse.Namespace, device: torch.device) -> list[str]:
    """What the rows mean."""
    lines = [
        f"{options.images:,} images of {'x'.join(map(str, SHAPE))} "
        f"({options.images * torch.Size(SHAPE).numel() / 1e9:.1f} GB); teacher {options.teacher}, "
        f"student {options.student}, batches of {options.batch}. Updates: wall time, medians of "
        f"{options.blocks} blocks of {options.updates}, the places in turn. The students of all "
        "places are equal bit for bit.",
        "Memory: of a process that fills a bank and draws fifty batches, above what it had before. "
        "Mapped pages are page cache that the kernel takes back when it needs memory.",
    ]
    if device.type == "cpu":
        lines.append(
            "On a CPU, device and host are the same memory; host copies a drawn batch as device "
            "does. With a GPU: not measured."
        )
    return lines


def main() -> None:
    """Measure all places and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--updates", type=int, default=2, help="of a block")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--teacher", default="torchvision:mobilenet_v2")
    parser.add_argument("--student", default="torchvision:mobilenet_v2")
    parser.add_argument("--memory", choices=PLACES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    if options.memory:
        print(json.dumps(memory(options.memory, options.images, options.batch, device)))
        return
    rows = measured(options, device)
    title = "Where a bank of images of 224 pixels is"
    files = write("bank_location", title, COLUMNS, rows, notes(options, device), "seed 0")
    print("written:", *files)


if __name__ == "__main__":
    main()
