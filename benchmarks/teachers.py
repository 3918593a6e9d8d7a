"""Do the settings of glyphs-best hold for teachers of other families?

    python -m benchmarks.teachers [--seeds 3] [--only dense vgg] [--named]

Trains a teacher of each family on letters (once; it is then in the cache), and the student of
glyphs-best from each, in one process and in lock-step: a copy of the teacher with half of its
channels, which starts with their weights. With `--named` the student is the same residual network
for all, with random weights. Writes one table. Beside each teacher it shows the terms of the
synthesis loss in the first and in the last step of a round, so that what changes scale from teacher
to teacher can be seen.

Every student's figures are written as soon as they are known. The same command after an
interruption trains only what is missing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import FOLDER
from benchmarks.student_rows import (
    Overrides,
    Row,
    Student,
    by_setting,
    cell,
    figures_of,
    judged,
    row_of,
    student_rows,
)
from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.methods.loss_terms import TERMS
from fastdfkd.experiment import Experiment
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware

BASE = "glyphs-best"
NAMED: Overrides = {
    "student.model": "resnet14-half",
    "student.width": 1.0,
    "student.start_from": None,
}
"""One student for all teachers. Most of them have another architecture, so it starts at random."""
GOAL = 0.02
"""A student this far below the best family's is named."""


_STUDENTS = {
    False: "The student: a copy of the teacher with half of its channels and their weights",
    True: "The student: resnet14-half with random weights",
}
"""What the table says of its student, by whether it is `NAMED`."""


@dataclass(frozen=True)
class Family:
    """A family of teachers."""

    model: str
    looked_at: bool
    """Whether settings were tried on it before this table was first made."""
    training: Overrides


def _written(name: str, looked_at: bool = False, **training: Any) -> Family:
    """A network of `teacher_networks.py`; `training`: keys of the recipe's section `teacher`."""
    changes = {f"teacher.{key}": value for key, value in training.items()}
    return Family(f"benchmarks.teacher_networks:{name}", looked_at, changes)


FAMILIES: dict[str, Family] = {
    "residual": Family("resnet14", True, {}),
    "plain": _written("plain"),
    "pre-activation, GELU": _written("pre_activation", True),
    "VGG": _written("vgg", True),
    "inverted residual, ReLU6": _written("inverted_residual", True),
    "dense": _written("dense"),
    "squeeze-excite": _written("squeeze_excite"),
    "mixed norms": _written("mixed_norms"),
}
"""By the label of the row. The residual one is the sample teacher, for which the settings were
chosen."""


class StepTerms:
    """Calls an objective and keeps the loss terms of each step with the adversarial term."""

    def __init__(self, objective: Any):
        self._objective = objective
        self.steps: list[Tensor] = []

    def __call__(self, inputs: Tensor, labels: Tensor | None, adversarial: bool) -> Tensor:
        """The objective's terms, in the order of `TERMS`."""
        terms: Tensor = self._objective(inputs, labels, adversarial)
        if adversarial:
            self.steps.append(terms.detach().clone())
        return terms

    def __getattr__(self, name: str) -> Any:
        """Everything else is the objective's."""
        return getattr(self._objective, name)

    def means(self, steps: int) -> dict[str, float]:
        """Mean of each term in the first and in the last of a round's `steps` steps."""
        rounds = torch.stack(self.steps).unflatten(0, (-1, steps)).mean(0).double()
        return {
            f"{term}_{when}": float(rounds[step, index])
            for index, term in enumerate(TERMS)
            for when, step in (("first", 0), ("last", -1))
        }


def figures(student: Student) -> dict[str, float]:
    """The student's figures, and what the table shows of its teacher."""
    teacher, _, taught = judged(student)
    layers = BatchNormStatistics(teacher).layers.values()
    watched: list[StepTerms] = []

    def synthesizer_of(experiment: Experiment) -> Synthesizer:
        synthesizer: Any = experiment.synthesizer()
        synthesizer.objective = StepTerms(synthesizer.objective)
        watched.append(synthesizer.objective)
        made: Synthesizer = synthesizer
        return made

    start = time.process_time()
    found = figures_of(student, synthesizer_of)
    return {
        **found,
        "seconds": time.process_time() - start,
        "teacher_accuracy": taught.figures["accuracy"],
        "parameters": sum(parameter.numel() for parameter in teacher.parameters()),
        "layers": len(layers),
        "channels": sum(len(layer.running_mean) for layer in layers),
        **watched[0].means(student.recipe.synthesis.steps_per_batch),
    }


measured = partial(row_of, figures=figures)
"""The row of a student."""


def students(seeds: int, only: Sequence[str], changes: Overrides) -> list[Student]:
    """Each family in `only` with the first seed, then with the next one."""
    return [
        Student(
            BASE,
            label,
            seed,
            {"teacher.model": family.model, **family.training, **changes},
        )
        for seed in range(seeds)
        for label, family in FAMILIES.items()
        if label in only
    ]


def page(rows: Sequence[Row], command: str, student: str) -> str:
    """The results as Markdown."""
    seeds, machine = sorted({row["seed"] for row in rows}), hardware()
    lines = [
        "# Teachers of eight families: glyphs",
        f"`{command}`; seeds {', '.join(map(str, seeds))}; {machine.get('processor')}, "
        f"{machine.get('cores')} cores, shared with other work; commit {commit()}. {student}, "
        f"with the settings of {BASE}, in lock-step with one thread. Means ± sample standard "
        "deviation over the seeds, without ± of one seed. Seconds are processor seconds of "
        "synthesis and student updates.",
        _students_table(rows),
        _spread(rows),
        "Means of the unweighted terms in the first and in the last step of a round, over all "
        "rounds past warm-up. Layers are those with running statistics.",
        _terms_table(rows),
    ]
    return "\n\n".join(line.rstrip() for line in lines) + "\n"


def _students_table(rows: Sequence[Row]) -> str:
    table = []
    for label, group in by_setting(rows).items():
        ended = [row for row in group if "diverged" not in row]
        one: Mapping[str, Any] = ended[0] if ended else {}
        table.append(
            [
                label,
                "yes" if FAMILIES[label].looked_at else "no",
                f"{one['parameters']:,.0f}" if one else "-",
                f"{one['teacher_accuracy']:.1%}" if one else "-",
                cell(group, "accuracy"),
                cell(group, "agreement"),
                f"{fmean(row['seconds'] for row in ended):.0f}" if ended else "-",
            ]
        )
    heads = ["teacher", "looked at while tuning", "parameters", "its accuracy"]
    return markdown_table([*heads, "student's accuracy", "agreement", "seconds"], table)


def _spread(rows: Sequence[Row]) -> str:
    """Which families' students are further from the best than the goal allows."""
    groups = by_setting([row for row in rows if "diverged" not in row])
    means = {label: fmean(row["accuracy"] for row in group) for label, group in groups.items()}
    if not means:
        return "Every student diverged."
    best = max(means.values())
    behind = [
        f"{label} ({(best - mean) * 100:.1f})"
        for label, mean in means.items()
        if mean < best - GOAL
    ]
    text = f"Families more than {GOAL * 100:g} points behind the best: "
    return text + (", ".join(behind) or "none") + "."


def _terms_table(rows: Sequence[Row]) -> str:
    table = []
    for label, group in by_setting(rows).items():
        ended = [row for row in group if "diverged" not in row]
        if not ended:
            table.append([label, *["-"] * 6])
            continue
        layers = ended[0]["layers"]
        shown = [_change(ended, term) for term in ("bn", "oh", "adv")]
        each = _change(ended, "bn", 1 / layers)
        counts = [f"{layers}", f"{ended[0]['channels']}"]
        table.append([label, *counts, shown[0], each, *shown[1:]])
    heads = ["teacher", "layers", "channels", "L_bn", "L_bn / layers", "CE", "adv"]
    return markdown_table(heads, table)


def _change(group: Sequence[Row], term: str, scale: float = 1.0) -> str:
    """Mean of a term over rows in the first and in the last step."""
    first, last = (
        fmean(row[f"{term}_{when}"] for row in group) * scale for when in ("first", "last")
    )
    return f"{first:.3g} to {last:.3g}"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--named", action="store_true", help="one student for all, from random")
    parser.add_argument("--processes", type=int, default=1, help="students at a time")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    stem = options.out / ("teachers-glyphs" if options.named else "teachers-glyphs-copies")
    chosen = students(options.seeds, options.only, NAMED if options.named else {})
    rows = student_rows(chosen, stem.with_suffix(".json"), options.processes, measured)
    command = f"python -m benchmarks.teachers --seeds {options.seeds}{' --named' * options.named}"
    text = page(rows, command, _STUDENTS[options.named])
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
