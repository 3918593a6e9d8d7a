"""Students of many settings of one recipe: a row of figures each, written as soon as known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

from fastdfkd.core.evaluation import Evaluated
from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.data import Judge
from fastdfkd.experiment import Experiment, image_spec, judge_of
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.files import write_whole
from fastdfkd.trainers.teacher import prepare_teacher

Overrides = Mapping[str, Any]
Row = dict[str, Any]
"""`setting`, `seed`, `recipe` (its digest), `trial` if the student has one, and the judge's figures
by name, or `diverged`: why there are none."""


@dataclass(frozen=True)
class Student:
    """A student to be trained, as a shipped recipe with changes."""

    base: str
    setting: str
    seed: int
    changes: Overrides
    synthetic_images: int = 0
    """Held-out synthetic images that judge the student, beside the real ones."""
    trial: str = ""
    """Name of the trial (`benchmarks/trials.py`) whose parts replace the recipe's; "": none."""

    @property
    def recipe(self) -> Recipe:
        """The recipe, checked."""
        return load_recipe(self.base, {**self.changes, "seed": self.seed})

    @property
    def facts(self) -> Row:
        """The columns that identify its row."""
        trial = {"trial": self.trial} if self.trial else {}
        return {
            "setting": self.setting,
            "seed": self.seed,
            "recipe": self.recipe.digest(),
            **trial,
        }


Judged = tuple[nn.Module, Judge, Evaluated]
"""A teacher, its judge, and its own answers."""
_JUDGED: dict[str, Judged] = {}


def judged(student: Student) -> Judged:
    """The teacher of a student, its judge and its own answers, kept for the next student of it.

    A teacher that must be trained first, and the synthetic images, are kept in the cache folder.
    """
    wanted = {**student.changes, "evaluation.synthetic_images": student.synthetic_images}
    recipe = load_recipe(student.base, wanted)
    key = recipe.model_dump_json(include={"data", "input", "teacher", "evaluation"})
    if key not in _JUDGED:
        teacher = prepare_teacher(recipe).model
        judge, normalise = judge_of(recipe, teacher), image_spec(recipe).normalisation("cpu")
        _JUDGED[key] = teacher, judge, judge.answers(teacher, normalise, "cpu")
    return _JUDGED[key]


def measured(student: Student) -> Row:
    """Train one student in lock-step with one thread; its figures, or why it has none."""
    return row_of(student, figures_of)


def row_of(student: Student, figures: Callable[[Student], Mapping[str, float]]) -> Row:
    """The row of a student: its figures, or why it has none."""
    torch.set_num_threads(1)
    try:
        found = figures(student)
    except DivergedError as error:
        return {**student.facts, "diverged": str(error)}
    lost = [name for name, value in found.items() if not math.isfinite(value)]
    if lost:
        return {**student.facts, "diverged": f"the student's {', '.join(lost)} is not finite"}
    return {**student.facts, **found}


def figures_of(
    student: Student, synthesizer_of: Callable[[Experiment], Synthesizer] = Experiment.synthesizer
) -> dict[str, float]:
    """Train the student in `reference_loop`; the judge's figures."""
    assert not student.trial, f"{student.trial}: only timed runs have the parts of a trial"
    teacher, judge, taught = judged(student)
    recipe = student.recipe
    experiment = Experiment.of(recipe, teacher)
    distiller = experiment.distiller()
    reference_loop(
        synthesizer_of(experiment),
        experiment.buffer(),
        distiller,
        recipe.synthesis,
        recipe.distillation,
    )
    answers = judge.answers(distiller.module, experiment.normalisation("cpu"), "cpu")
    return judge.figures(answers, taught)


def student_rows(
    students: Sequence[Student],
    file: Path,
    processes: int = 1,
    measure: Callable[[Student], Row] = measured,
    is_complete: Callable[[Row], bool] = lambda row: True,
) -> list[Row]:
    """The rows of students, in their order.

    The file is written after each student. The same call after an interruption therefore trains
    only the students that are missing. Rows of other recipes or trials are dropped.

    Args:
        students: to be trained, each with one thread.
        file: JSON, a list of rows; it need not exist.
        processes: how many students are trained at a time. 1: in this process; more: each in a
            process of its own.
        measure: makes a row. It is a function of a module if there are several processes.
        is_complete: whether a row of the file still holds; if not, it is measured again.
    """
    old: list[Row] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    keys = [_key(student.facts) for student in students]
    rows = {key: row for row in old if (key := _key(row)) in keys}
    complete = {key for key, row in rows.items() if is_complete(row)}
    missing = [each for each, key in zip(students, keys, strict=True) if key not in complete]
    if missing:
        judged(missing[0])  # in the cache before other processes start
    for row in _measured_by(processes, missing, measure):
        rows[_key(row)] = row
        done = [rows[key] for key in keys if key in rows]
        write_whole(file, (json.dumps(done, indent=1) + "\n").encode())
        print(f"{row['setting']}, seed {row['seed']}: {_outcome(row)}", flush=True)
    return [rows[key] for key in keys]


def _key(row: Row) -> tuple[str, ...]:
    """What tells the rows of a file apart."""
    return row["setting"], row["recipe"], row.get("trial", "")


def _measured_by(
    processes: int, students: Sequence[Student], measure: Callable[[Student], Row]
) -> Iterator[Row]:
    """The rows of students as they end, measured in this process or in several new ones."""
    if processes == 1:
        yield from map(measure, students)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), max_tasks_per_child=1)
    with pool:
        for done in as_completed([pool.submit(measure, student) for student in students]):
            yield done.result()


def _outcome(row: Row) -> str:
    """The accuracy of a row, or why it has none."""
    return row["diverged"] if "diverged" in row else f"{row['accuracy']:.1%}"


def finished(rows: Sequence[Row]) -> list[Row]:
    """The rows with figures, of settings of which no student diverged."""
    bad = {row["setting"] for row in rows if "diverged" in row}
    return [row for row in rows if row["setting"] not in bad]


def by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each setting, in the order of the first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["setting"], []).append(row)
    return groups


def cell(group: Sequence[Row], figure: str) -> str:
    """Mean of a figure over rows, ± the sample standard deviation if there are several.

    Students that diverged have no figures. The cell says how many they are.
    """
    values = [row[figure] for row in group if "diverged" not in row]
    diverged = len(group) - len(values)
    if not values:
        return "diverged"
    scale, unit = (100, " %") if FIGURES[figure].unit == "share" else (1, "")
    digits = 1 if FIGURES[figure].unit != "nats" else 3
    spread = f" ± {stdev(values) * scale:.{digits}f}" if len(values) > 1 else ""
    lost = f" ({diverged} of {len(group)} diverged)" if diverged else ""
    return f"{fmean(values) * scale:.{digits}f}{spread}{unit}{lost}"
