"""Which priors help where the teacher has no running statistics?

    python -m benchmarks.priors [digits-gn-teacher | ...] [--seeds 3]

Trains students without priors, and with each prior alone at a weak weight, in one process and in
lock-step. Prints and writes a table. No time is measured: the figures hold for a busy machine.

Every student's figures are written as soon as they are known. The same command after an
interruption trains only the students that are missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import FOLDER
from benchmarks.student_rows import Overrides, Row, Student, by_setting, cell, student_rows
from benchmarks.synthetic_agreement import SMALL
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware
from fastdfkd.runs.figures import FIGURES

SHORTER: dict[str, Overrides] = {
    "digits-gn-teacher": {},
    "digits-vit-teacher": {},
    "glyphs-gn-teacher": SMALL["glyphs"],
}
"""Recipes, and what shortens all of their rows. With letters it is what shortens glyphs-fast5 in
`synthetic_agreement`, whose row "recipe" is the teacher with BatchNorm."""

PRIORS: dict[str, Overrides] = {
    "no prior": {},
    "confidence 0.1": {"synthesis.confidence": 0.1},
    "balance 0.5": {"synthesis.balance": 0.5},
    "activation 0.01": {"synthesis.activation": 0.01},
    "tv 2.5e-5": {"synthesis.tv": 2.5e-5},
    "patch_drop 0.1": {"synthesis.patch_drop": 0.1},
}
"""Each prior alone, at a tenth of the weights that together did harm; 0.1 for `patch_drop`."""

SHOWN = ("accuracy", "agreement")


def priors_of(recipe: str) -> dict[str, Overrides]:
    """The rows of a recipe. Patches are dropped for transformers only."""
    left_out = () if "vit" in recipe else ("patch_drop 0.1",)
    return {label: changes for label, changes in PRIORS.items() if label not in left_out}


def page(recipe: str, rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    seeds, machine = sorted({row["seed"] for row in rows}), hardware()
    lines = [
        f"# Priors in place of running statistics: {recipe}",
        f"`python -m benchmarks.priors {recipe} --seeds {len(seeds)}`; seeds "
        f"{', '.join(map(str, seeds))}; {machine.get('processor')}, {machine.get('cores')} cores; "
        f"commit {commit()}. The recipe with {json.dumps(SHORTER[recipe])}, in "
        "lock-step. Means ± sample standard deviation over the seeds.",
    ]
    table = [
        [label, *(cell(group, each) for each in SHOWN)] for label, group in by_setting(rows).items()
    ]
    heads = ["priors", *(FIGURES[each].name for each in SHOWN)]
    return "\n\n".join([*lines, markdown_table(heads, table).rstrip()]) + "\n"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=list(SHORTER), nargs="?", default="digits-gn-teacher")
    parser.add_argument("--only", choices=list(PRIORS), nargs="+", default=list(PRIORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    students = [
        Student(arguments.recipe, label, seed, {**SHORTER[arguments.recipe], **changes})
        for seed in range(arguments.seeds)
        for label, changes in priors_of(arguments.recipe).items()
        if label in arguments.only
    ]
    stem = arguments.out / f"priors-{arguments.recipe}"
    text = page(
        arguments.recipe, student_rows(students, stem.with_suffix(".json"), arguments.processes)
    )
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
