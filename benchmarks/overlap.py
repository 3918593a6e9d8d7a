"""Does working at once pay? End-to-end time against the longer role and against the sum.

    python -m benchmarks.overlap [--rounds 30] [--workers 0 1]

Both roles sleep for calibrated times (`calibrated.py`) inside the real pipeline, so each has
resources of its own and what is above the ideal is the platform's cost. The ideal has its first
batch, during which nobody can train, in it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.calibrated import CalibratedExperiment, Costs
from benchmarks.load_results import write
from fastdfkd.experiment import Experiment
from fastdfkd.platform import pipeline
from fastdfkd.platform.cluster import connect
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.teacher import Teacher

UPDATES = 10
"""Student updates a round."""
RATIOS = {"1:2": (0.3, 0.6), "1:1": (0.6, 0.6), "2:1": (0.6, 0.3)}
"""Seconds of a round's synthesis and distillation."""

COLUMNS = {
    "ratio": ("synthesis : distillation", "s"),
    "workers": ("worker processes", "d"),
    "schedule": ("schedule", "s"),
    "rounds": ("rounds", "d"),
    "synthesis": ("synthesis, s", ".2f"),
    "distillation": ("distillation, s", ".2f"),
    "end_to_end": ("end to end, s", ".2f"),
    "ideal": ("ideal, s", ".2f"),
    "over": ("above the ideal", ".1%"),
    "pace": ("second half above the ideal", ".1%"),
    "start": ("first draw to first update, s", ".2f"),
    "synthesizer_idle": ("synthesizer idle, s", ".2f"),
    "trainer_idle": ("trainer idle, s", ".2f"),
}


class Rows:
    """Takes progress rows and keeps what time it was after how many updates."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        """From the first draw to each number of updates."""

    def log(self, row: dict[str, float]) -> None:
        """Keep a row of the trainer's."""
        if row.get("updates"):
            self.seconds[int(row["updates"])] = row["end_to_end_seconds"]


def recipe(schedule: str, workers: int, rounds: int) -> Recipe:
    """CIFAR-sized batches, a small real student to publish, no warm-up."""
    return load_recipe(
        "digits-fast5",
        {
            "synthesis.rounds": rounds,
            "synthesis.warmup_rounds": 0,
            "synthesis.batch_size": 256,
            "distillation.updates_per_round": UPDATES,
            "distillation.batch_size": 256,
            "platform.schedule": schedule,
            "platform.workers": workers,
            "platform.device": "cpu",
            "platform.evaluations": 1,
            "platform.start_timeout_s": 120,
        },
    )


@contextmanager
def roles_that_sleep(costs: Costs) -> Iterator[None]:
    """`pipeline.run` builds an experiment of sleeping roles in this block."""

    def of(recipe: Recipe, teacher: Any) -> Experiment:
        return CalibratedExperiment.make(recipe, costs)

    with mock.patch.object(Experiment, "of", of):
        yield


def run(schedule: str, workers: int, rounds: int, costs: Costs) -> tuple[RunResult, Rows]:
    """One run of the real pipeline, and its progress."""
    wanted = recipe(schedule, workers, rounds)
    nobody: Any = None
    teacher = Teacher(model=nobody, accuracy=0.0, digest="", description={})
    with tempfile.TemporaryDirectory() as folder, roles_that_sleep(costs):
        recorder: Any = Rows()
        return pipeline.run(wanted, teacher, Path(folder), recorder), recorder


def ideal(schedule: str, rounds: int, synthesis: float, distillation: float) -> float:
    """Seconds of a run on a platform that costs nothing: max in async, the sum in lock-step."""
    if schedule == "lockstep":
        return rounds * (synthesis + distillation)
    return rounds * max(synthesis, distillation)


def row(ratio: str, workers: int, schedule: str, rounds: int) -> dict[str, Any]:
    """Measure one combination."""
    synthesis, distillation = RATIOS[ratio]
    found, rows = run(schedule, workers, rounds, Costs(synthesis, distillation / UPDATES))
    half, end = rounds // 2, rows.seconds[rounds * UPDATES]
    later = ideal(schedule, rounds - half, synthesis, distillation)
    best = ideal(schedule, rounds, synthesis, distillation)
    return {
        "ratio": ratio,
        "workers": workers,
        "schedule": schedule,
        "rounds": rounds,
        "synthesis": found.synthesis_seconds,
        "distillation": found.distillation_seconds,
        "end_to_end": found.end_to_end_seconds,
        "ideal": best,
        "over": found.end_to_end_seconds / best - 1,
        "pace": (end - rows.seconds[half * UPDATES]) / later - 1,
        "start": rows.seconds[UPDATES] - distillation,
        "synthesizer_idle": found.synthesizer_idle_seconds,
        "trainer_idle": found.trainer_idle_seconds,
    }


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """What the table shows."""
    at_once = [row for row in rows if row["schedule"] == "async"]
    worst = max(row["over"] for row in at_once if row["workers"] == 0)
    pace = max(row["pace"] for row in at_once)
    rounds = max(row["rounds"] for row in at_once)
    return [
        f"{UPDATES} updates a round, batches of 256 images of 3x32x32; both roles "
        "sleep in the real pipeline (actors, bank, limiter, board, Ray Train loop, checkpoints). "
        "The ideal is calibrated seconds alone: rounds x max of both roles (async), rounds x their "
        "sum (lockstep).",
        f"async with the student in the driver is at most {worst:.1%} above max(synthesis, "
        f"distillation), and in the second half of any run at most {pace:.1%}. One round of the "
        f"shorter role cannot overlap (nobody trains before the first batch, nobody synthesises "
        f"after the last): of {rounds} rounds that alone is {1 / rounds:.1%} at 1:1. With a "
        "worker process Ray Train takes its time to start it, while the synthesizer makes what the "
        "tolerance allows and waits: end to end counts from the first draw, so that is in it.",
    ]


def main() -> None:
    """Measure all combinations and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    rows, half = [], -(-options.rounds // 2)  # lock-step's cost a round shows in half of them
    with connect():
        for workers in options.workers:
            for ratio in RATIOS:
                rows.append(row(ratio, workers, "async", options.rounds))
                print(rows[-1], flush=True)
                if workers == options.workers[0]:
                    rows.append(row(ratio, workers, "lockstep", half))
                    print(rows[-1], flush=True)
    title = "Overlap of synthesis and distillation"
    print("written:", *write("overlap", title, COLUMNS, rows, notes(rows), "seed 0, one run each"))


if __name__ == "__main__":
    main()
