"""How well does the agreement on synthetic images rank settings by their true accuracy?

    python -m benchmarks.synthetic_agreement [digits | glyphs] [--seeds 3]

Trains students with many settings and several seeds, in one process and in lock-step, and judges
each on real held-out images and on held-out synthetic ones. Prints and writes the table and the
rank correlation (Spearman) over settings. No time is measured: the figures hold for a busy machine.

Every student's figures are written as soon as they are known. The same command after an
interruption trains only the students that are missing.

A setting with a student that diverged is in the table of settings and in no ranking: a sweep has no
figure of such a trial either. Ranked last by both it would raise the correlation for nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.results import FOLDER
from benchmarks.student_rows import (
    Overrides,
    Row,
    Student,
    by_setting,
    cell,
    finished,
    student_rows,
)
from fastdfkd.recipe import load_recipe
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
        "synthesis.rounds": 48,
        "synthesis.warmup_rounds": 8,
        "synthesis.batch_size": 32,
        "distillation.updates_per_round": 9,
        "distillation.warmup_updates": 30,
    },
}
"""Changes to the shipped Fast-5 recipe: a fraction of its rounds and updates."""

IMAGES = 2000
"""Held-out synthetic images, the default where there is no real data."""

NEAR = 0.1
"""Settings within these ten points of accuracy of the best are ranked by themselves too."""

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
    "temperature 1": {"distillation.temperature": 1.0},
    "low learning rate": {"distillation.lr": 0.01},
    "high learning rate": {"distillation.lr": 0.4},
    "flips": {"distillation.flip": True, "synthesis.flip": True},
}
"""Settings that spoil or change one thing, as a user who tunes without data would meet them."""


def students_of(name: str, seeds: int) -> list[Student]:
    """The students of a data set: each setting with the first seed, then with the next one."""
    base = f"{name}-fast5"
    third = load_recipe(base, SMALL[name]).synthesis.batch_size // 3
    settings = {**SETTINGS, "a third of the images": {"synthesis.batch_size": third}}
    return [
        Student(base, label, seed, {**SMALL[name], **changes}, IMAGES)
        for seed in range(seeds)
        for label, changes in settings.items()
    ]


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


def good(rows: Sequence[Row]) -> list[Row]:
    """The rows of settings whose mean accuracy is at most `NEAR` below the best."""
    groups = by_setting(rows)
    accuracy = {label: fmean(row["accuracy"] for row in group) for label, group in groups.items()}
    least = max(accuracy.values()) - NEAR
    return [row for label, group in groups.items() if accuracy[label] >= least for row in group]


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
    cores = f"{machine.get('cores'):g} cores"
    lines = [
        f"# Agreement on synthetic images and true accuracy: {name}",
        f"`python -m benchmarks.synthetic_agreement {name} --seeds {len(seeds)}`; seeds "
        f"{', '.join(map(str, seeds))}; {machine.get('processor')}, {cores}; "
        f"commit {commit()}. {name}-fast5 with {json.dumps(SMALL[name])}, changed as named; "
        f"{IMAGES:,} held-out synthetic images.",
    ]
    ranked = finished(rows)
    lost = [label for label in by_setting(rows) if label not in by_setting(ranked)]
    if lost:
        lines.append(
            f"Students of {', '.join(lost)} diverged. These settings are not ranked: a sweep has "
            "no figure of a trial that diverged."
        )
    lines.append(
        "Rank correlation (Spearman) with accuracy on real held-out images, over all settings and "
        f"over those within {NEAR * 100:g} points of the best, and the accuracy lost by choosing "
        "the best setting by the figure's mean:"
    )
    ranks = {figure: spearman(ranked, figure) for figure in RANKED}
    near = good(ranked)
    heads = ["figure", "means over seeds", *(f"seed {seed}" for seed in seeds)]
    several = len(by_setting(near)) > 1
    heads += [f"means of the {len(by_setting(near))} best", "accuracy lost"]
    table = [
        [
            FIGURES[figure].name,
            *(f"{value:.2f}" for value in found.values()),
            f"{spearman(near, figure)['means']:.2f}" if several else "-",
            f"{regret(ranked, figure) * 100:.1f} points",
        ]
        for figure, found in ranks.items()
    ]
    lines.append(markdown_table(heads, table).rstrip())
    lines.append("Means ± sample standard deviation over the seeds, best accuracy first:")
    names = ["accuracy", *SYNTHETIC]
    groups = sorted(by_setting(rows).items(), key=lambda item: -_mean_accuracy(item[1]))
    table = [[label, *(cell(group, each) for each in names)] for label, group in groups]
    heads = ["setting", *(FIGURES[each].name for each in names)]
    lines.append(markdown_table(heads, table).rstrip())
    return "\n\n".join(lines) + "\n"


def _mean_accuracy(group: Sequence[Row]) -> float:
    """Mean accuracy of the students that did not diverge; 0 if there are none."""
    return fmean([row["accuracy"] for row in group if "diverged" not in row] or [0.0])


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=list(SMALL), nargs="?", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    name = arguments.data
    students = students_of(name, arguments.seeds)
    stem = arguments.out / f"synthetic_agreement-{name}"
    text = page(name, student_rows(students, stem.with_suffix(".json"), arguments.processes))
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
