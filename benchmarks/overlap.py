"""Overlap of synthesis and distillation: end-to-end time compared with an ideal platform.

    python -m benchmarks.overlap [--rounds 30] [--workers 0 1]

Both roles sleep for fixed times (`calibrated.py`) in the real pipeline, so they do not compete for
cores. The time above the ideal is the cost of the platform. The ideal does not count that nothing
can be trained before the first batch.
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
"""Student updates per round."""
RATIOS = {"1:2": (0.3, 0.6), "1:1": (0.6, 0.6), "2:1": (0.6, 0.3)}
"""Seconds of synthesis and of distillation per round."""

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


class UpdateTimes:
    """Stands in for the recorder; keeps the time of each number of updates."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        """End-to-end seconds by number of updates."""

    def log(self, row: dict[str, float]) -> None:
        """Keep the time of a row that has updates."""
        if row.get("updates"):
            self.seconds[int(row["updates"])] = row["end_to_end_seconds"]

    def warn(self, warning: str) -> None:
        """The driver has logged it."""

    def evaluating(self, images: int, of: int) -> None:
        """Nothing is shown."""

    def note(self, note: str) -> None:
        """The trainer has logged it."""


def recipe(schedule: str, workers: int, rounds: int) -> Recipe:
    """Recipe with batches of 256, a small real student to publish, and no warm-up."""
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
def sleeping_roles(costs: Costs) -> Iterator[None]:
    """Make `pipeline.run` use a `CalibratedExperiment` in the `with` block."""

    def of(recipe: Recipe, teacher: Any, device: str) -> Experiment:
        return CalibratedExperiment.make(recipe, costs)

    with mock.patch.object(Experiment, "of", of):
        yield


def run(schedule: str, workers: int, rounds: int, costs: Costs) -> tuple[RunResult, UpdateTimes]:
    """One run of the real pipeline: its result and the times of its updates."""
    no_model: Any = None
    teacher = Teacher(model=no_model, accuracy=0.0, digest="", description={})
    with tempfile.TemporaryDirectory() as folder, sleeping_roles(costs):
        times: Any = UpdateTimes()
        result = pipeline.run(recipe(schedule, workers, rounds), teacher, Path(folder), times)
    return result, times


def ideal(schedule: str, rounds: int, synthesis: float, distillation: float) -> float:
    """Seconds of a run on a platform without cost.

    Rounds times the longer role in async, rounds times the sum of both in lock-step.
    """
    if schedule == "lockstep":
        return rounds * (synthesis + distillation)
    return rounds * max(synthesis, distillation)


def row(ratio: str, workers: int, schedule: str, rounds: int) -> dict[str, Any]:
    """Measure one combination."""
    synthesis, distillation = RATIOS[ratio]
    result, times = run(schedule, workers, rounds, Costs(synthesis, distillation / UPDATES))
    half, end = rounds // 2, times.seconds[rounds * UPDATES]
    second_half = ideal(schedule, rounds - half, synthesis, distillation)
    best = ideal(schedule, rounds, synthesis, distillation)
    return {
        "ratio": ratio,
        "workers": workers,
        "schedule": schedule,
        "rounds": rounds,
        "synthesis": result.synthesis_seconds,
        "distillation": result.distillation_seconds,
        "end_to_end": result.end_to_end_seconds,
        "ideal": best,
        "over": result.end_to_end_seconds / best - 1,
        "pace": (end - times.seconds[half * UPDATES]) / second_half - 1,
        "start": times.seconds[UPDATES] - distillation,
        "synthesizer_idle": result.synthesizer_idle_seconds,
        "trainer_idle": result.trainer_idle_seconds,
    }


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Notes that explain the table."""
    async_rows = [row for row in rows if row["schedule"] == "async"]
    worst = max(row["over"] for row in async_rows if row["workers"] == 0)
    pace = max(row["pace"] for row in async_rows)
    rounds = max(row["rounds"] for row in async_rows)
    return [
        f"{UPDATES} updates per round, batches of 256 images of 3x32x32; both roles "
        "sleep in the real pipeline (actors, bank, limiter, board, Ray Train loop, checkpoints). "
        "The ideal counts only the seconds of sleep: rounds x the longer role (async), rounds x "
        "the sum of both (lockstep).",
        f"async with the student in the driver is at most {worst:.1%} above max(synthesis, "
        f"distillation), and in the second half of any run at most {pace:.1%}. One round of the "
        "shorter role cannot overlap: no training before the first batch, no synthesis after the "
        f"last one. Of {rounds} rounds this is {1 / rounds:.1%} at 1:1. End to end counts from the "
        "first draw. With a worker process it includes the start of Ray Train, during which the "
        "synthesizer makes as many rounds as the tolerance allows and then waits.",
    ]


def main() -> None:
    """Measure all combinations and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    rows, half = [], -(-options.rounds // 2)  # half the rounds show the cost of lock-step
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
