"""A run of a recipe with many classes: do its images convince the teacher, does its student learn?

    fastdfkd distill imagenet-efficientnet-lite0 data.root=IMAGES teacher.weights=FILE \
        platform.checkpoint_every=20 --out RUN
    python -m benchmarks.thousand_classes RUN

Reads the finished run and writes `results/thousand-classes.json`, `.md` and `.png`. The teacher
classifies the images of the run's newest checkpoint as the bank has them, and the judge of the
recipe compares the student with the teacher, before its first update and as the run measured it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import torch
from scipy.stats import binomtest
from torch import nn

from benchmarks.results import FOLDER
from fastdfkd.core.class_passes import classes_of_round
from fastdfkd.experiment import Experiment
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.report.drawing import picture, style
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import prepare_teacher

Row = dict[str, Any]
FROM_RESULT = ("seed", "images", "updates", "wall_seconds", "end_to_end_seconds", "accuracy")
"""Figures of the run's result that the record has."""
GROUP = 10
"""Rounds of a row of the table."""


def main() -> None:
    """Measure, print and write the table and the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    record = measured(options.run)
    file = options.out / "thousand-classes"
    file.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(page(record), encoding="utf-8")
    draw(record["rounds"], file.with_suffix(".png"))
    print(page(record))


def measured(run: Path) -> Row:
    """The figures of a finished run.

    Raises:
        ValueError: its labels are not balanced over rounds, so a round's are unknown.
    """
    recipe = load_recipe(run / "recipe.yaml")
    if getattr(recipe.synthesis, "balance_over", "") != "rounds":
        raise ValueError("expected a run with synthesis.balance_over: rounds")
    teacher = prepare_teacher(recipe).model
    experiment = Experiment.of(recipe, teacher)
    judge, normalise = experiment.judge, experiment.normalisation("cpu")
    taught = judge.answers(teacher, normalise, "cpu")
    started = judge.figures(judge.answers(experiment.student.eval(), normalise, "cpu"), taught)
    rows = pd.read_csv(run / "metrics.csv")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    weights = {
        role: sum(parameter.numel() for parameter in network.parameters())
        for role, network in (("teacher", teacher), ("student", experiment.student))
    }
    evaluated = rows[rows.agreement.notna()][["updates", "agreement", "accuracy"]]
    return {
        "recipe": recipe.name,
        "weights": weights,
        "real_images": len(judge),
        "classes": experiment.spec.num_classes,
        "rounds": of_rounds(run, recipe, teacher, experiment, rows),
        "student": [{"updates": 0, **started}, *evaluated.to_dict("records")],
        "result": {name: result[name] for name in FROM_RESULT},
    }


@torch.inference_mode()
def of_rounds(
    run: Path, recipe: Recipe, teacher: nn.Module, experiment: Experiment, rows: pd.DataFrame
) -> list[Row]:
    """For each round the shares that the teacher gives to its images."""
    normalise, confidence = experiment.normalisation("cpu"), rows[rows.newest_confidence.notna()]
    found = {
        int(row.rounds): {"confidence": row.newest_confidence} for row in confidence.itertuples()
    }
    checkpoint = CheckpointFolder(run).newest()
    for round, images in (checkpoint.images() if checkpoint else {}).items():
        count, classes = recipe.synthesis.batch_size, experiment.spec.num_classes
        labels = classes_of_round(recipe.seed, round, count, classes, torch.device("cpu"))
        shares = teacher(normalise.from_uint8(images)).softmax(1)
        found.setdefault(round + 1, {})["of_class"] = float(
            (shares.argmax(1) == labels).float().mean()
        )
    return [{"round": round, **row} for round, row in sorted(found.items())]


def page(record: Row) -> str:
    """The figures as Markdown."""
    result, machine, count = record["result"], hardware(), record["real_images"]
    weights = record["weights"]
    lines = [
        f"# {record['recipe']}: {record['classes']:,} classes",
        f"{machine.get('processor')}, {machine.get('cores')} cores; commit {commit()}. Seed "
        f"{result['seed']}; {result['images']:,} images, {result['updates']:,} student updates, "
        f"{result['wall_seconds']:.0f} s of wall time. The student has {weights['student']:,} "
        f"weights, the teacher {weights['teacher']:,}.",
        "## The images",
        "By the teacher: share of the images of a round that are of their class (until the newest "
        "checkpoint), and mean of the largest class probability in the last step, in percent.",
        markdown_table(*_image_table(record["rounds"])),
        "## The student",
        f"Agreement with the teacher on {count:,} real images, with its 95 % interval (Wilson). "
        f"Chance is {100 / record['classes']:.1f} %.",
        markdown_table(*_student_table(record["student"], count)),
    ]
    return "\n\n".join(lines) + "\n"


def _image_table(rounds: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    table = []
    for start in range(0, len(rounds), GROUP):
        group = rounds[start : start + GROUP]
        shares = [[row[key] for row in group if key in row] for key in ("of_class", "confidence")]
        cells = [f"{100 * fmean(share):.0f}" if share else "-" for share in shares]
        table.append([f"{group[0]['round']} to {group[-1]['round']}", *cells])
    return ["rounds", "of their class", "confidence"], table


def _student_table(students: Sequence[Row], count: int) -> tuple[list[str], list[list[str]]]:
    table = []
    for row in students:
        agreed = round(row["agreement"] * count)
        interval = binomtest(agreed, count).proportion_ci(method="wilson")
        between = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
        accuracy = f"{100 * row['accuracy']:.1f} %"
        table.append([f"{row['updates']:,.0f}", f"{100 * agreed / count:.1f} %", between, accuracy])
    return ["updates", "agreement", "interval", "accuracy"], table


def draw(rounds: Sequence[Row], path: Path) -> None:
    """The figures of the images over rounds."""
    names = {"of_class": "of their class", "confidence": "largest class probability"}
    with picture(path, 8, 4.5) as axes:
        for index, (key, name) in enumerate(names.items()):
            points = [(row["round"], 100 * row[key]) for row in rounds if key in row]
            axes.plot(*zip(*points, strict=True), label=name, **style(index))
        axes.set_xlabel("round")
        axes.set_ylabel("images, by the teacher (%)")
        axes.legend(frameon=False)


if __name__ == "__main__":
    main()
