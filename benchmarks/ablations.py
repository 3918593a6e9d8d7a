"""What each setting of glyphs-best is worth: the recipe with one thing changed, at equal seconds.

    python -m benchmarks.ablations [--seeds 3] [--only "random start"]
    python -m benchmarks.ablations --trials
    python -m benchmarks.ablations --maps
    python -m benchmarks.ablations --more

Rows change a key of the recipe. Those of `--trials` (`benchmarks/trials.py`) change what no key
does. They have a table of their own, with the recipe as it is beside them. So have those of
`--maps`, which compare maps of stages with the recipe as it is shipped now, and those of `--more`,
which are later trials of that recipe. `--whole` compares maps of stages in four times the seconds,
which is about what the recipe takes. `--sizes` makes images at half of the size, for which the
generator of all its rows has a spatial z.

The students are judged on letters that are drawn anew from the fonts of the *training* images. No
student is trained on them, and no setting is chosen on the held-out letters with other fonts, on
which glyphs-best is judged at the end.

The runs, their clock and their readings are those of `benchmarks/methods.py`. The same command
after an interruption makes only what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.methods import timed_row
from benchmarks.results import FOLDER
from benchmarks.student_rows import (
    Judged,
    Overrides,
    Row,
    Student,
    by_setting,
    judged,
    student_rows,
)
from benchmarks.trials import FIRST, LATER, TRIALS
from fastdfkd.data import RealImages
from fastdfkd.data.glyphs import TRAIN_FONTS, GlyphSettings, load_glyphs
from fastdfkd.experiment import image_spec
from fastdfkd.recipe import load_recipe
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware

BASE = "glyphs-best"
SECONDS = 60
"""Processor seconds of a run of most tables."""
DRAWN_ANEW = GlyphSettings(train_per_letter=1, test_fonts=TRAIN_FONTS, seed=1)

NAMED: Overrides = {"student.model": "resnet14-half", "student.width": 1.0}
"""The student of glyphs-best, as the recipe called it when the tables were made. From the teacher's
weights it is the same one bit for bit; a random start draws other weights."""
BEFORE: Overrides = {"synthesis.adv": 16}
"""What glyphs-best had when the table was made; its row `adv 4` was then taken over."""
ALONE = "random shapes alone"
"""Images of the method `shapes`, new ones in every update."""
WITH_MAPS = "stage_maps 1"
RANDOM, RANDOM_WITH_MAPS = "random start", "random start, stage_maps 1"
CHANGES: Mapping[str, Overrides] = {
    "as it is": {},
    RANDOM: {"student.start_from": None},
    "no random shapes": {"distillation.random_shapes": 0.0},
    "three quarters random shapes": {"distillation.random_shapes": 0.75},
    ALONE: {"distillation.random_shapes": 0.0, "distillation.updates_per_round": 10},
    "mixup": {"distillation.mixup": 0.5},
    "temperature 20": {"distillation.temperature": 20.0},
    "lr 0.2": {"distillation.lr": 0.2},
    "lr 0.05": {"distillation.lr": 0.05},
    "40 updates a round": {"distillation.updates_per_round": 40},
    "generator meta-learned": {"synthesis.meta": "fomaml"},
    "generator new for each batch": {"synthesis.meta": "none"},
    "2 steps a batch": {"synthesis.steps": 2},
    "adv 4": {"synthesis.adv": 4.0},
    "labels drawn freely": {"synthesis.balanced_labels": False},
    "class codes": {"synthesis.codes": "classes", "synthesis.class_vector_size": 64},
    "channel exchange": {"synthesis.channel_exchange": 0.5},
    "relative statistics": {"synthesis.statistics": "relative"},
    "teacher asked about every view": {"distillation.teacher_cache": None},
    "views used 8 times": {"distillation.teacher_cache": 8},
}
"""Changed keys, by the label of the row."""
AS_IT_IS = "as it is"
MAPS: Mapping[str, Overrides] = {
    AS_IT_IS: {},
    WITH_MAPS: {"distillation.stage_maps": 1.0},
    RANDOM: {"student.start_from": None},
    RANDOM_WITH_MAPS: {"student.start_from": None, "distillation.stage_maps": 1.0},
}
"""Changed keys, by the label of the row. From a random start the maps have regressors."""
SIZES: Mapping[str, Overrides] = {
    AS_IT_IS: {},
    "16 pixels": {"synthesis.sizes": [16]},
    "16 and 32 pixels in turn": {"synthesis.sizes": [16, 32]},
}
"""Changed keys of the table of images that are made at other sizes; the letters have 32 pixels."""
MORE: Mapping[str, Overrides] = {
    AS_IT_IS: {},
    "12 rounds before the first update": {"synthesis.warmup_rounds": 12},
}
"""Changed keys of the table that has the later trials. The recipe has 4 such rounds."""


@dataclass(frozen=True)
class Table:
    """Rows that are compared with each other."""

    option: str
    """Of the command; "" for the first table."""
    before: Overrides
    """What all rows change."""
    changes: Mapping[str, Overrides]
    """What a row changes, by its label; nothing for a trial."""
    most_seeds: Mapping[str, int] = field(default_factory=dict)
    """Of rows that have fewer seeds than the others."""
    seconds: int = SECONDS
    """Processor seconds of a run."""

    @property
    def stem(self) -> str:
        """Name of its files, without their ending."""
        return f"ablations-glyphs{'-' * bool(self.option)}{self.option}"

    @property
    def title(self) -> str:
        """What all rows change, as a heading."""
        keys = [f"`{key.split('.')[-1]}: {value}`" for key, value in self.before.items()]
        before = f" with {', '.join(keys)}," if keys else ""
        return f"# {BASE},{before} and one thing changed"


KEYS = Table("", BEFORE, CHANGES)
TABLES = (
    KEYS,
    Table("trials", BEFORE, {AS_IT_IS: {}, **{trial: {} for trial in FIRST}}),
    Table("maps", {}, MAPS, {RANDOM: 2, RANDOM_WITH_MAPS: 2}),
    Table("more", {}, {**MORE, **{trial: {} for trial in LATER}}),
    Table("whole", {}, {AS_IT_IS: {}, WITH_MAPS: MAPS[WITH_MAPS]}, seconds=240),
    Table("sizes", {"synthesis.latent": "spatial"}, SIZES),
)


def students(seeds: int, only: Sequence[str], table: Table = KEYS) -> list[Student]:
    """The rows that are named in `only`, all with the first seed, then with the next one."""
    labels = [label for label in table.changes if label in only]
    return [
        _student(label, seed, table)
        for seed in range(seeds)
        for label in labels
        if seed < table.most_seeds.get(label, seeds)
    ]


def _student(label: str, seed: int, table: Table) -> Student:
    endless = {**table.changes[label], "synthesis.rounds": 100_000}
    if label != ALONE:
        changes = {**NAMED, **table.before, **endless, "bank.capacity": 20_000}
        return Student(BASE, label, seed, changes, trial=label if label in TRIALS else "")
    recipe = load_recipe(BASE).literal()
    rest = {key: recipe[key] for key in ("data", "teacher", "student", "distillation")}
    changes = {**rest, **NAMED, **endless, "synthesis.method": "shapes"}
    return Student("glyphs-gn-auto", label, seed, changes)


def judged_on_new_letters(student: Student) -> Judged:
    """A student's teacher, with the letters that are drawn anew as the judge."""
    teacher = judged(student)[0]
    spec = image_spec(student.recipe)
    judge = RealImages(load_glyphs("test", DRAWN_ANEW), spec.kind)
    return teacher, judge, judge.answers(teacher, spec.normalisation("cpu"), "cpu")


def page(rows: Sequence[Row], of: Table = KEYS) -> str:
    """The results as Markdown."""
    groups, machine = by_setting(rows), hardware()
    option = f" --{of.option}" if of.option else ""
    seeds = sorted({row["seed"] for row in rows})
    table = []
    for label, group in groups.items():
        ended = [row["readings"][-1] for row in group if row["readings"]]
        if not ended:
            table.append([label, "diverged", *["-"] * 4])
            continue
        found = [100 * each["accuracy"] for each in ended]
        lost = f" ({len(group) - len(ended)} diverged)" if len(ended) < len(group) else ""
        spread = f" ± {stdev(found):.1f}" if len(found) > 1 else ""
        means = [fmean(row[key] for row in ended) for key in ("images", "updates")]
        share = fmean(row["synthesis_seconds"] for row in ended) / of.seconds
        table.append(
            [
                label,
                f"{fmean(found):.1f}{spread}{lost}",
                _against(label, groups),
                *(f"{mean:,.0f}" for mean in means),
                f"{share:.0%}",
            ]
        )
    heads = ["changed", "accuracy in %", "against as it is", "images", "updates", "synthesis"]
    return (
        "\n\n".join(
            [
                of.title,
                f"`python -m benchmarks.ablations{option} --seeds {len(seeds)}`; seeds "
                f"{', '.join(map(str, seeds))}; {machine.get('processor')}, {machine.get('cores')} "
                f"cores, shared with other work; commit {commit()}.",
                f"Students after {of.seconds} processor seconds of synthesis and updates in one "
                "process with one thread, mean ± sample standard deviation over the seeds; "
                "without ± of one seed. Accuracy on 2,600 letters drawn anew from the fonts of the "
                "training images, not on the held-out letters. `against as it is`: mean difference "
                "in points over the seeds that both rows have, ± its standard error.",
                markdown_table(heads, table).rstrip(),
            ]
        )
        + "\n"
    )


def _against(label: str, groups: Mapping[str, Sequence[Row]]) -> str:
    """Mean difference to the recipe as it is, by seed, in points."""
    base = {row["seed"]: row["accuracy"] for row in groups.get(AS_IT_IS, ())}
    pairs = [
        100 * (row["accuracy"] - base[row["seed"]])
        for row in groups[label]
        if row["accuracy"] is not None and base.get(row["seed"]) is not None
    ]
    if label == AS_IT_IS or not pairs:
        return ""
    error = f" ± {stdev(pairs) / len(pairs) ** 0.5:.1f}" if len(pairs) > 1 else ""
    return f"{fmean(pairs):+.1f}{error}"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    which = parser.add_mutually_exclusive_group()
    for other in TABLES[1:]:
        which.add_argument(f"--{other.option}", dest="table", action="store_const", const=other)
    parser.set_defaults(table=KEYS)
    parser.add_argument("--only", nargs="+", help="labels of rows; default: all")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    table: Table = options.table
    labels = list(table.changes)
    unknown = sorted(set(options.only or ()) - set(labels))
    if unknown:
        parser.error(f"no row {unknown[0]!r}: {', '.join(labels)}")
    stem = options.out / table.stem
    chosen = students(options.seeds, options.only or labels, table)
    times = sorted({SECONDS, table.seconds})
    measured = partial(timed_row, times=times, judged_by=judged_on_new_letters)
    rows = student_rows(chosen, stem.with_suffix(".json"), measure=measured)
    text = page(rows, table)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
