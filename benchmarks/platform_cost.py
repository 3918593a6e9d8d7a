"""The cost of the platform: lock-step with separate processes compared with `reference_loop`.

    python -m benchmarks.platform_cost [--recipes digits-fast5 glyphs-fast5] [--rounds 24]

Both sides run the same recipe with one thread per role, in pairs. Each pair has its own process, so
pairs do not affect each other. Every second pair runs the plain loop first. Two figures:

    start      from the call to the first draw of z, minus the same time of the plain loop (both
               build the networks and load the test images)
    rounds     from the first draw to the last update without evaluation, relative to the plain loop

The additional cost of a round does not depend on the length of the round, so the relative cost
does. The figures are medians over pairs. All pairs are shown: even two plain loops differ by 3 %.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import FOLDER, heading, machine, machine_name
from fastdfkd.api.execution import obtain_teacher
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment
from fastdfkd.platform import cluster, pipeline
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.teacher import Teacher

MAX_START_SECONDS = 15.0
MAX_ROUND_SHARE = 0.03


class FirstDraw:
    """Stands in for the recorder; finds the time of the first draw of z."""

    def __init__(self) -> None:
        self.at: float | None = None
        """Unix time in seconds. Too late by at most one second, the delay of a row."""

    def log(self, row: dict[str, float]) -> None:
        """Compute the time of the first draw from the trainer's first row."""
        if self.at is None and row.get("updates"):
            self.at = time.time() - row["end_to_end_seconds"]

    def warn(self, warning: str) -> None:
        """The driver has logged it."""

    def evaluating(self, images: int, of: int) -> None:
        """Nothing is shown."""

    def note(self, note: str) -> None:
        """The trainer has logged it."""


def on_platform(recipe: Recipe, teacher: Teacher) -> tuple[float, float]:
    """Seconds to the first draw of z, and from it to the last update, on the platform."""
    draw: Any = FirstDraw()
    began = time.time()
    with tempfile.TemporaryDirectory() as folder, cluster.connect(None):
        result = pipeline.run(recipe, teacher, Path(folder), draw)
    return draw.at - began, result.end_to_end_seconds


def in_one_process(recipe: Recipe, teacher: Teacher) -> tuple[float, float]:
    """The same for the plain loop."""
    began = time.time()
    experiment = Experiment.of(recipe, teacher.model)
    parts = experiment.synthesizer(), experiment.buffer(), experiment.distiller()
    draw = time.time()
    reference_loop(*parts, recipe.synthesis, recipe.distillation)
    return draw - began, time.time() - draw


SIDES = {"platform": on_platform, "plain loop": in_one_process}


def pair(recipe: Recipe, number: int) -> dict[str, tuple[float, float]]:
    """Run both sides one after the other, each with one thread."""
    torch.set_num_threads(1)
    teacher = obtain_teacher(recipe)
    order = list(SIDES) if number % 2 == 0 else list(reversed(SIDES))
    return {side: SIDES[side](recipe, teacher) for side in order}


def measure(recipe: Recipe, pairs: int) -> dict[str, Any]:
    """Medians of both sides for one recipe."""
    obtain_teacher(recipe)  # train it before the first pair
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        results = [pool.submit(pair, recipe, number).result() for number in range(pairs)]
    seconds = {side: [result[side] for result in results] for side in SIDES}
    medians = {
        side: [statistics.median(part) for part in zip(*times, strict=True)]
        for side, times in seconds.items()
    }
    start, (plain_start, plain_rounds) = medians["platform"][0], medians["plain loop"]
    more = [result["platform"][1] - result["plain loop"][1] for result in results]
    return {
        "recipe": recipe.name,
        "rounds": recipe.synthesis.rounds,
        "seconds": medians,
        "start_seconds": start - plain_start,
        "round_share": statistics.median(more) / plain_rounds,
        "more_a_round": statistics.median(more) / recipe.synthesis.rounds,
        "more_a_round_of_pairs": [extra / recipe.synthesis.rounds for extra in more],
    }


def report(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        *heading("What the platform costs", record),
        f"Lock-step, {record['rows'][0]['rounds']} rounds, one thread per role, wall seconds, "
        "without evaluation and checkpoints.",
        "",
        "| recipe | | to the first draw, s | from there to the last update, s |",
        "|---|---|---:|---:|",
    ]
    for row in record["rows"]:
        lines += [
            f"| {row['recipe']} | {side} | {first:.2f} | {rest:.2f} |"
            for side, (first, rest) in row["seconds"].items()
        ]
    lines.append("")
    for row in record["rows"]:
        more = row["more_a_round"]
        shown = ", ".join(f"{1e3 * each:.0f}" for each in row["more_a_round_of_pairs"])
        lines.append(
            f"{row['recipe']}: start {row['start_seconds']:.1f} s (goal: under "
            f"{MAX_START_SECONDS:.0f} s), rounds {row['round_share']:+.1%} (goal: under "
            f"{MAX_ROUND_SHARE:.0%}): {1e3 * more:.0f} ms per round (pairs: {shown}) for any "
            "length of a round, so the goal is met if a round takes "
            f"{more / MAX_ROUND_SHARE:.1f} s or more.  "
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=["digits-fast5", "glyphs-fast5"])
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    changes = {
        "synthesis.rounds": options.rounds,
        "synthesis.warmup_rounds": 2,
        "platform.schedule": "lockstep",
        "platform.workers": 0,
        "platform.evaluations": 1,
        "platform.checkpoint_every": None,
    }
    rows = [measure(load_recipe(name, changes), options.pairs) for name in options.recipes]
    record = {**machine(torch.device("cpu"), 1, "platform_cost"), "rows": rows}
    base = FOLDER / f"platform_cost-{machine_name()}"
    Path(f"{base}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Path(f"{base}.md").write_text(report(record), encoding="utf-8")
    print(report(record))


if __name__ == "__main__":
    main()
