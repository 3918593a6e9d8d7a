"""How well does the agreement on synthetic images rank settings by their true accuracy?

    python -m benchmarks.synthetic_agreement [digits | glyphs] [--seeds 3]

Trains students with many settings and several seeds, in one process and in lock-step, and judges
each on real held-out images and on held-out synthetic ones. Prints and writes the table and the
rank correlation (Spearman) over settings. No time is measured: the figures hold for a busy machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

from benchmarks.results import FOLDER
from fastdfkd.core.evaluation import Evaluated
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.data import Judge
from fastdfkd.experiment import Experiment, image_spec, judge_of
from fastdfkd.recipe import load_recipe
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware
from fastdfkd.runs.figures import FIGURES, SYNTHETIC
from fastdfkd.trainers.teacher import prepare_teacher

Overrides = Mapping[str, Any]
Row = dict[str, Any]

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
IMAGES = 2000


@cache
def judged(name: str) -> tuple[nn.Module, Judge, Evaluated]:
    """The teacher of a data set, its judge, and its own answers."""
    recipe = load_recipe(f"{name}-fast5", {"evaluation.synthetic_images": IMAGES})
    teacher = prepare_teacher(recipe).model
    judge, normalise = judge_of(recipe, teacher), image_spec(recipe).normalisation("cpu")
    return teacher, judge, judge.answers(teacher, normalise, "cpu")


def measured(name: str, label: str, seed: int) -> Row:
    """Train one student; all its figures, on real and on synthetic images."""
    torch.set_num_threads(1)
    teacher, judge, taught = judged(name)
    loaded = load_recipe(f"{name}-fast5", {**SMALL[name], **SETTINGS[label], "seed": seed})
    experiment = Experiment.of(loaded, teacher)
    distiller = experiment.distiller()
    reference_loop(
        experiment.synthesizer(),
        experiment.buffer(),
        distiller,
        loaded.synthesis,
        loaded.distillation,
    )
    answers = judge.answers(distiller.module, experiment.normalisation("cpu"), "cpu")
    return {"setting": label, "seed": seed, **judge.figures(answers, taught)}


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


def by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each setting."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["setting"], []).append(row)
    return groups


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
    table = [[label, *(_cell(group, each) for each in names)] for label, group in groups]
    heads = ["setting", *(FIGURES[each].name for each in names)]
    lines.append(markdown_table(heads, table).rstrip())
    return "\n\n".join(lines) + "\n"


def _cell(group: Sequence[Row], figure: str) -> str:
    values = [row[figure] for row in group]
    scale, unit = (100, " %") if FIGURES[figure].unit == "share" else (1, "")
    digits = 1 if FIGURES[figure].unit != "nats" else 3
    spread = f" ± {stdev(values) * scale:.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values) * scale:.{digits}f}{spread}{unit}"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=list(SMALL), nargs="?", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    name, rows = arguments.data, list[Row]()
    judged(name)  # the teacher and the images are in the cache before the processes start
    jobs = [(name, label, seed) for seed in range(arguments.seeds) for label in SETTINGS]
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        for row in pool.map(measured, *zip(*jobs, strict=True)):
            rows.append(row)
            print(
                f"{row['setting']}, seed {row['seed']}: accuracy {row['accuracy']:.1%}, agreement "
                f"on synthetic images {row['synthetic_agreement']:.1%}",
                flush=True,
            )
    stem = arguments.out / f"synthetic_agreement-{name}"
    stem.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    text = page(name, rows)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
