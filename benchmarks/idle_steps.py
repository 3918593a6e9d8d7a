"""`platform.use_idle`: are steps that a waiting synthesizer makes worth anything to the student?

    python -m benchmarks.idle_steps [--seeds 3]

Runs glyphs-best through Ray with the student setting the pace: 40 updates a round in place of 20,
so that the synthesizer waits for most of its time, and 30 rounds. Each seed is run without and with
`platform.use_idle`, in turn. The students are judged on letters drawn anew from the fonts of the
training images, as those of `benchmarks/ablations.py` are, not on the held-out letters.

Synthesizer and student work at once, each on one core: on a machine with other work, or with less
than two cores, the wait is not what it would be. Every run is written as soon as it is done. The
same command after an interruption makes only what is missing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

import fastdfkd
from benchmarks.ablations import judged_on_new_letters
from benchmarks.results import FOLDER
from benchmarks.student_rows import Overrides, Row, Student, student_rows
from fastdfkd.experiment import student_input, student_spec
from fastdfkd.models import open_network
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware

BASE = "glyphs-best"
PACED: Overrides = {
    "synthesis.rounds": 30,
    "distillation.updates_per_round": 40,
    "platform.evaluations": 1,
    "platform.cpus_per_synthesizer": 1,
    "platform.cpus_per_worker": 1,
}
"""What all runs change of the recipe."""
SETTINGS = {"waiting": False, "use_idle": True}
"""`platform.use_idle`, by the label of the row."""
FIGURES = {
    "accuracy": ("accuracy in %", 100.0, ".1f"),
    "steps": ("steps of a batch", 1.0, ".1f"),
    "idle": ("synthesizer waits", 100.0, ".0f"),
    "synthesis_seconds": ("synthesis, s", 1.0, ".0f"),
    "end_to_end_seconds": ("end to end, s", 1.0, ".0f"),
    "updates": ("updates", 1.0, ".0f"),
}
"""Heading, factor and format of the columns, by the figure."""


def measured(student: Student) -> Row:
    """The row of a run, which is made in a temporary folder."""
    recipe = student.recipe
    _, judge, taught = judged_on_new_letters(student)
    with tempfile.TemporaryDirectory() as folder:
        out, store = Path(folder) / "run", f"sqlite:///{folder}/mlflow.db"
        result = fastdfkd.distill(recipe, {"tracking.uri": store}, out=out)
        steps = pd.read_csv(out / "metrics.csv")["synthesis_steps"]
        trained = open_network(recipe.student, student_spec(recipe), out / "student.safetensors")
    answers = judge.answers(trained, student_input(recipe, "cpu"), "cpu")
    return {
        **student.facts,
        **judge.figures(answers, taught),
        "steps": float(steps[steps > 0].mean()),
        "idle": result.synthesizer_idle_ratio,
        "synthesis_seconds": result.synthesis_seconds,
        "end_to_end_seconds": result.end_to_end_seconds,
        "updates": result.updates,
        "images": result.images,
        "notes": list(result.notes),
    }


def students(seeds: int) -> list[Student]:
    """Each seed without and with the key."""
    return [
        Student(BASE, label, seed, {**PACED, "platform.use_idle": used})
        for seed in range(seeds)
        for label, used in SETTINGS.items()
    ]


def page(rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    machine, seeds = hardware(), sorted({row["seed"] for row in rows})
    table = [
        [label, *(_cell([row[key] for row in group], key) for key in FIGURES)]
        for label in SETTINGS
        if (group := [row for row in rows if row["setting"] == label])
    ]
    return (
        "\n\n".join(
            [
                "# platform.use_idle: glyphs-best with the student setting the pace",
                f"`python -m benchmarks.idle_steps --seeds {len(seeds)}`; seeds "
                f"{', '.join(map(str, seeds))}; {machine.get('processor')}, {machine.get('cores')} "
                f"cores; commit {commit()}. {BASE} with {json.dumps(dict(PACED))}, through Ray. "
                "Means ± sample standard deviation over the seeds. Accuracy on 2,600 letters drawn "
                "anew from the fonts of the training images, not on the held-out letters.",
                markdown_table(
                    ["setting", *(name for name, *_ in FIGURES.values())], table
                ).rstrip(),
                _difference(rows),
            ]
        )
        + "\n"
    )


def _cell(values: Sequence[float], figure: str) -> str:
    _, factor, form = FIGURES[figure]
    scaled = [factor * value for value in values]
    spread = f" ± {stdev(scaled):{form}}" if len(scaled) > 1 else ""
    return f"{fmean(scaled):{form}}{spread}"


def _difference(rows: Sequence[Row]) -> str:
    """What the key changes, over the seeds that both settings have."""
    by: Mapping[str, dict[int, Any]] = {
        label: {row["seed"]: row for row in rows if row["setting"] == label} for label in SETTINGS
    }
    without, used = (by[label] for label in SETTINGS)
    found = [
        100 * (used[seed]["accuracy"] - without[seed]["accuracy"])
        for seed in sorted(without.keys() & used.keys())
    ]
    if not found:
        return "No seed has both settings."
    error = f" ± {stdev(found) / len(found) ** 0.5:.1f} (standard error)" if len(found) > 1 else ""
    return f"With `use_idle` against without, by seed: {fmean(found):+.1f}{error} points."


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    stem = options.out / "idle-steps-glyphs"
    rows = student_rows(students(options.seeds), stem.with_suffix(".json"), measure=measured)
    text = page(rows)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
