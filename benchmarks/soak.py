"""Memory growth over thousands of rounds: `reference_loop` with tiny rounds.

    python -m benchmarks.soak [--rounds 2000]

The bank has room for a few rounds only, so its ring buffer is overwritten all the time. Resident
memory is read 100 times. The first tenth of the readings does not count, because libraries are
loaded and allocators fill their pools in it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.cases import recipe_case
from benchmarks.results import FOLDER, heading, machine, machine_name
from fastdfkd.core.clock import Clock
from fastdfkd.core.memory import peak_memory_bytes
from fastdfkd.core.reference_loop import reference_loop

MEBI = 2**20
MAX_GROWTH = 16 * MEBI
"""Memory counts as flat if it grows by at most this many bytes after the first tenth."""


def soak(rounds: int, images: int = 4, cache: int | None = 2) -> dict[str, Any]:
    """Run the loop; `readings` are (rounds done, resident bytes)."""
    case = recipe_case("digits-fast5", torch.device("cpu"), images, steps=1, batch=images)
    synthesis = case.synthesis.model_copy(
        update={"rounds": rounds, "warmup_rounds": 1, "latent_dim": 16, "generator_width": 8}
    )
    distillation = case.distillation.model_copy(
        update={"updates_per_round": 1, "teacher_cache": cache, "lr": 0.01}
    )
    case = replace(case, synthesis=synthesis, distillation=distillation)
    bank, process = case.bank(4 * images), psutil.Process()
    every = max(rounds // 100, 1)
    readings: list[tuple[int, int]] = []

    def read(round: int, _clock: Clock) -> None:
        if (round + 1) % every == 0:
            readings.append((round + 1, process.memory_info().rss))

    reference_loop(
        case.synthesizer("float32"),
        bank,
        case.distiller("float32"),
        synthesis,
        distillation,
        on_round=read,
    )
    settled = readings[len(readings) // 10 :]
    return {
        "rounds": rounds,
        "readings": readings,
        "growth_bytes": settled[-1][1] - settled[0][1],
        "peak_bytes": peak_memory_bytes(),
        "bank_bytes": bank.images.nbytes,
        "bank_bytes_needed": 4 * images * torch.Size(case.image_shape).numel(),
    }


def report(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    growth, flat = record["growth_bytes"], record["growth_bytes"] <= MAX_GROWTH
    rows = record["readings"]
    shown = rows[:: max(len(rows) // 10, 1)]
    lines = [
        *heading("Soak", record),
        f"{record['rounds']:,} rounds: {'flat' if flat else 'NOT FLAT'}. Resident memory grew by "
        f"{growth / MEBI:.1f} MiB after the first tenth; peak {record['peak_bytes'] / MEBI:.0f} "
        f"MiB; the bank holds {record['bank_bytes']:,} bytes, its images need "
        f"{record['bank_bytes_needed']:,}.",
        "",
        "| rounds | resident, MiB |",
        "|---:|---:|",
        *(f"| {rounds:,} | {size / MEBI:.1f} |" for rounds, size in shown),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print and write; exit with code 1 if memory grows too much."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    record = {**machine(torch.device("cpu"), 1, "soak"), **soak(options.rounds)}
    base = FOLDER / f"soak-{machine_name()}"
    Path(f"{base}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Path(f"{base}.md").write_text(report(record), encoding="utf-8")
    print(report(record))
    raise SystemExit(record["growth_bytes"] > MAX_GROWTH)


if __name__ == "__main__":
    main()
