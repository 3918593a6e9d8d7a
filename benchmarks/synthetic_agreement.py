"""How well does the agreement on synthetic images rank settings by their true accuracy?

    python -m benchmarks.synthetic_agreement [digits | glyphs] [--seeds 3]

Trains students with many settings and several seeds, in one process and in lock-step, and judges
each on real held-out images and on held-out synthetic ones. Prints and writes the table and the
rank correlation (Spearman) over settings. No time is measured: the figures hold for a busy machine.

Every student's figures are written as soon as they are known. The same command after an
interruption trains only the students that are missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.results import FOLDER
from benchmarks.student_rows import IMAGES, Overrides, Row, Student, by_setting, cell, student_rows
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware
from fastdfkd.runs.figures import FIGURES, SYNTHETIC

SMALL: dict[str, Overrides] = {
    "digits": {
        "synthesis.rounds": 20,
        "synthesis.warmup_rounds": 3,
        "distillation.updates_per_round": 10,
        "distillation.batch_size": 64,
    },
    "glyphs": {
        "synthesis.rounds": 60,
        "synthesis.warmup_rounds": 10,
        "distillation.updates_per_round": 10,
        "distillation.warmup_updates": 50,
        "platform.precision": "float32",
    },
}
"""Changes to the shipped Fast-5 recipe: a fraction of its rounds and updates."""

SETTINGS: dict[str, Overrides] = {
    "recipe": {},
    "2 steps": {"synthesis.steps": 2},
    "10 steps": {"synthesis.steps": 10},
    "no adversarial term": {"synthesis.adv": 0.0},
    "no target classes": {"synthesis.oh": 0.0},
    "no BatchNorm term": {"synthesis.bn": 0.0},
    "weak BatchNorm term": {"synthesis.bn": 1.0},
    "new generator each batch": {"synthesis.meta": "none"},
    "sequential generator": {"synthesis.meta": "sequential"},
    "a third of the updates": {"distillation.updates_per_round": 3},
    "a third of the images": {"synthesis.batch_size": 21},
    "temperature 1": {"distillation.temperature": 1.0},
    "low learning rate": {"distillation.lr": 0.01},
    "high learning rate": {"distillation.lr": 0.4},
    "flips": {"distillation.flip": True, "synthesis.flip": True},
}
"""Settings that spoil or change one thing, as a user who tunes without data would meet them."""

RANKED = (
    "synthetic_agreement",
    "synthetic_agreement_mixed",
    "synthetic_agreement_augmented",
    "synthetic_kl",
    "synthetic_coverage",
)


def spearman(rows: Sequence[Row], figure: str) -> dict[str, float]:
    """Rank correlation of a figure with accuracy: over the settings' means, and of each seed."""
    from scipy.stats import spearmanr

    def rank(chosen: Sequence[Row]) -> float:
        sign = -1 if figure == "synthetic_kl" else 1
        pairs = [(sign * row[figure], row["accuracy"]) for row in chosen]
        return float(spearmanr(*zip(*pairs, strict=True)).statistic)

    means = [
        {name: fmean(row[name] for row in group) for name in (figure, "accuracy")}
        for group in by_setting(rows).values()
    ]
    seeds = sorted({row["seed"] for row in rows})
    found = {f"seed {s}": rank([row for row in rows if row["seed"] == s]) for s in seeds}
    return {"means": rank(means), **found}


def regret(rows: Sequence[Row], figure: str) -> float:
    """Accuracy that is lost by taking the setting with the best mean of a figure, 0 to 1."""
    sign = -1 if figure == "synthetic_kl" else 1
    groups = by_setting(rows).values()
    accuracy = [fmean(row["accuracy"] for row in group) for group in groups]
    value = [sign * fmean(row[figure] for row in group) for group in groups]
    return max(accuracy) - accuracy[value.index(max(value))]


def page(name: str, rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    seeds = sorted({row["seed"] for row in rows})
    machine = hardware()
    lines = [
        f"# Agreement on synthetic images and true accuracy: {name}",
        f"`python -m benchmarks.synthetic_agreement {name} --seeds {len(seeds)}`; seeds "
        f"{', '.join(map(str, seeds))}; {machine.get('processor')}, {machine.get('cores')} cores; "
        f"commit {commit()}. {name}-fast5 with {json.dumps(SMALL[name])}, changed as named; "
        f"{IMAGES:,} held-out synthetic images.",
        "Rank correlation (Spearman) with accuracy on real held-out images, over settings, and the "
        "accuracy lost by choosing the best setting by the figure:",
    ]
    ranks = {figure: spearman(rows, figure) for figure in RANKED}
    heads = ["figure", "means over seeds", *(f"seed {seed}" for seed in seeds), "accuracy lost"]
    table = [
        [
            FIGURES[figure].name,
            *(f"{value:.2f}" for value in found.values()),
            f"{regret(rows, figure) * 100:.1f} points",
        ]
        for figure, found in ranks.items()
    ]
    lines.append(markdown_table(heads, table).rstrip())
    lines.append("Means ± sample standard deviation over the seeds, best accuracy first:")
    names = ["accuracy", *SYNTHETIC]
    groups = sorted(
        by_setting(rows).items(), key=lambda item: -fmean(row["accuracy"] for row in item[1])
    )
    table = [[label, *(cell(group, each) for each in names)] for label, group in groups]
    heads = ["setting", *(FIGURES[each].name for each in names)]
    lines.append(markdown_table(heads, table).rstrip())
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=list(SMALL), nargs="?", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    name = arguments.data
    students = [
        Student(f"{name}-fast5", label, seed, {**SMALL[name], **changes})
        for seed in range(arguments.seeds)
        for label, changes in SETTINGS.items()
    ]
    stem = arguments.out / f"synthetic_agreement-{name}"
    text = page(name, student_rows(students, stem.with_suffix(".json"), arguments.processes))
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
