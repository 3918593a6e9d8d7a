"""All methods at equal seconds: accuracy over synthesis seconds and over end-to-end seconds.

    python -m benchmarks.methods [--budget 120] [--seeds 3] [--only fast cmi]    on glyphs
    python -m benchmarks.methods --quick                                         on digits

Every run is one process with one torch thread. Its clock is the processor time of synthesis,
storage and student updates in the order of `core/reference_loop.py`; evaluating and saving are not
counted. The student's rate is constant. For each reading a copy of the run goes on for the last
fifth of the time with a falling rate, and its student is evaluated; the run itself then continues
from where it was copied. So every reading is of a student whose training has ended.

Each row is written as soon as its run has ended. The same command after an interruption makes only
what is missing: a run goes on from its last reading, also to a larger --budget.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.method_page import draw, page
from benchmarks.method_settings import READINGS, labels, students
from benchmarks.results import FOLDER
from benchmarks.student_rows import Judged, Row, Student, judged, student_rows
from benchmarks.timed_run import TimedRun
from benchmarks.trials import TRIALS, file_name
from fastdfkd.core.collapse import CollapseWatch
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.data import cache_folder
from fastdfkd.experiment import Experiment

FALL = 0.2
"""Share of the time before a reading in which the learning rate falls."""


def measured(student: Student, times: Sequence[int]) -> Row:
    """The row of a student, made in a new process: its readings at `times`."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(timed_row, student, times).result()


def timed_row(
    student: Student,
    times: Sequence[int],
    judged_by: Callable[[Student], Judged] | None = None,
) -> Row:
    """The row of a student, made in this process or continued from its last reading.

    Args:
        student: to be trained.
        times: processor seconds of the readings, rising.
        judged_by: gives its teacher, the judge of the readings, and the teacher's own answers.
            Unset: `judged`.

    Returns:
        The row, with `readings` as far as the run came, `seconds`, which is the last of the times,
        and `accuracy` at the last reading. `diverged` says why there are fewer readings.
    """
    torch.set_num_threads(1)
    row: Row = {**student.facts, "seconds": times[-1]}
    parts = (judged_by or judged)(student)
    experiment = Experiment.of(student.recipe, parts[0])
    replaced = TRIALS[student.trial] if student.trial else None
    run, copy = TimedRun(experiment, replaced), TimedRun(experiment, replaced)
    name = "-".join([row["recipe"][:16], *filter(None, [file_name(student.trial)])])
    file = cache_folder() / "methods" / f"{name}.pt"
    readings: list[Row] = list(run.load(file)["readings"]) if file.exists() else []
    read = [reading["seconds"] for reading in readings]
    if lost := [each for each in times if each not in read and each < max(read, default=0)]:
        raise ValueError(f"{file}: read after {read} seconds, not after {lost[0]}; delete it")
    for seconds in (each for each in times if each not in read):
        try:
            run.play((1 - FALL) * seconds)
            run.save(file, readings=readings)
            copy.load(file)
            copy.play(seconds, fall=True)
        except DivergedError as error:
            row["diverged"] = str(error)
            break
        readings.append(_reading(student, copy, seconds, readings, parts))
        run.save(file, readings=readings)
    shown = [reading for reading in readings if reading["seconds"] in times]
    return {**row, "accuracy": shown[-1]["accuracy"] if shown else None, "readings": shown}


def _reading(
    student: Student, run: TimedRun, seconds: int, before: Sequence[Row], parts: Judged
) -> Row:
    """What a run has reached, and what its monitor says as if the run had been planned so long."""
    teacher, judge, taught = parts
    recipe = student.recipe
    experiment = Experiment.of(recipe, teacher)
    normalise = experiment.normalisation("cpu")
    figures = judge.figures(judge.answers(run.distiller.module, normalise, "cpu"), taught)
    reading = {
        "seconds": seconds,
        "synthesis_seconds": run.synthesis_seconds,
        "distillation_seconds": run.distillation_seconds,
        "images": run.images_at(seconds),
        "updates": run.distiller.updates,
        **figures,
    }
    synthesis = recipe.synthesis.model_copy(update={"rounds": run.rounds})
    watch = CollapseWatch(recipe.model_copy(update={"synthesis": synthesis}), experiment.spec)
    columns: Row = {}
    if run.distiller.updates:
        for each in before:
            watch.check([], each)
        columns, _ = watch.check(run.figures, reading)
    speed = _forward_seconds(teacher, experiment.spec.shape)
    return {**reading, **columns, "symptoms": sorted(watch.told), "forward_seconds": speed}


def _forward_seconds(network: torch.nn.Module, shape: Sequence[int], repeats: int = 10) -> float:
    """Processor seconds of the teacher's forward pass on 64 images: how busy the machine is."""
    images = torch.zeros(64, *shape)
    with torch.inference_mode():
        start = time.process_time()
        for _ in range(repeats):
            network(images)
    return (time.process_time() - start) / repeats


def main() -> None:
    """Measure, print and write the table and the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="digits, 40 seconds, one seed")
    parser.add_argument("--budget", type=int, help="processor seconds of a run: 120, quick: 40")
    parser.add_argument("--seeds", type=int, help="3, quick: 1")
    parser.add_argument("--only", nargs="+", help="labels of rows; default: all")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    data = "digits" if options.quick else "glyphs"
    budget = options.budget or (40 if options.quick else 120)
    times = [seconds for seconds in READINGS[data] if seconds <= budget]
    unknown = sorted(set(options.only or ()) - set(labels(data)))
    if unknown or not times:
        wrong = f"no row {unknown[0]}: {', '.join(labels(data))}" if unknown else ""
        parser.error(wrong or f"--budget: at least {READINGS[data][0]} seconds, got {budget}")
    seeds = options.seeds or (1 if options.quick else 3)
    chosen = students(data, seeds, options.only or labels(data))
    stem = options.out / f"methods-{data}"
    rows = student_rows(
        chosen,
        stem.with_suffix(".json"),
        measure=partial(measured, times=times),
        is_complete=lambda row: row["seconds"] >= times[-1],
    )
    text = page(data, rows)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    draw(rows, stem.with_suffix(".png"), data)
    print(text)


if __name__ == "__main__":
    main()
