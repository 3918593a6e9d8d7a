"""The rows of `benchmarks/methods.py`: a sample recipe for each method, without a planned end.

On digits they are the sample recipes as they ship. On glyphs they are the sample recipes of
glyphs where there are some, else those of digits with the data, the teacher and the student of
glyphs-fast5; what else differs is stated below.

Nothing was tuned for this table. The settings of glyphs-fast5 had been tuned by accuracy on the
held-out letters (benchmarks/LOG.md), which favours the rows of `fast`, and the student's settings
of every method that inverts single batches.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.student_rows import Overrides, Student
from fastdfkd.recipe import load_recipe

READINGS: dict[str, tuple[int, ...]] = {
    "glyphs": (15, 30, 60, 120, 200, 300),
    "digits": (5, 10, 20, 40),
}
"""Processor seconds at which the student is evaluated."""

FAST: dict[str, Overrides] = {
    "fast": {},
    "fast, sequential": {"synthesis.meta": "sequential"},
    "fast, none": {"synthesis.meta": "none"},
}
"""Fast-5 and the ablations of its paper: the generator is meta-learned, goes on as it is, or is new
for each batch."""
GENERATIVE = ("dafl", "zskt", "dfq", "dfad")
"""Methods that train one generator."""
TENTH: Overrides = {"synthesis.steps": 200, "synthesis.batch_size": 64}
"""DeepInversion with a tenth of its steps, on as many images as the other methods have."""

Settings = dict[str, tuple[str, Overrides]]
"""A shipped recipe and changes to it, by the row's label."""


def _shapes(data: str) -> Settings:
    """New images in every update, as in glyphs-gn-auto."""
    recipe = load_recipe(f"{data}-fast5").literal()
    rest = {key: recipe[key] for key in ("data", "teacher", "student", "distillation")}
    images = {"synthesis.method": "shapes", "distillation.updates_per_round": 10}
    return {"shapes": ("glyphs-gn-auto", {**rest, **images})}


def _digits() -> Settings:
    inversion = "digits-deep-inversion"
    return {
        **{label: ("digits-fast5", changes) for label, changes in FAST.items()},
        "cmi": ("digits-cmi", {}),
        "nayer": ("digits-nayer", {}),
        "deep_inversion": (inversion, {}),
        "deep_inversion, 200 steps": (inversion, {**TENTH, "distillation.updates_per_round": 55}),
        **{method: (f"digits-{method}", {}) for method in GENERATIVE},
        **_shapes("digits"),
    }


def _glyphs() -> Settings:
    recipe = load_recipe("glyphs-fast5").literal(unset=False)
    letters = {key: recipe[key] for key in ("data", "teacher", "student")}
    student = {"distillation": recipe["distillation"]}
    updates = {"distillation.updates_per_round": 110}  # 64 images each; digits-cmi: 55 with 128
    warm = {"synthesis.warmup_rounds": 10}  # as glyphs-100x, whose 70 rounds are about 120 s
    cmi = {**letters, **student, **updates, "synthesis.crop_padding": 2}
    nayer = {**letters, **student, **warm, "synthesis.crop_padding": 2}
    nayer["distillation.updates_per_round"] = 30  # 64 images each; digits-nayer: 15 with 128
    own_end = {**letters, "distillation.warmup_updates": 100}
    inversion = "glyphs-deep-inversion"
    return {
        **{label: ("glyphs-fast5", {**warm, **changes}) for label, changes in FAST.items()},
        "cmi": ("digits-cmi", cmi),
        "nayer": ("digits-nayer", nayer),
        "deep_inversion": (inversion, student),
        "deep_inversion, 200 steps": (inversion, {**student, **TENTH, **updates}),
        **{method: (f"digits-{method}", own_end) for method in GENERATIVE},
        **_shapes("glyphs"),
    }


SETTINGS = {"digits": _digits, "glyphs": _glyphs}


def labels(data: str) -> list[str]:
    """The rows of a data set, in order."""
    return list(SETTINGS[data]())


def students(data: str, seeds: int, only: Sequence[str]) -> list[Student]:
    """The rows that are named in `only`, all with the first seed, then with the next one."""
    return [
        Student(base, label, seed, _endless(label, changes))
        for seed in range(seeds)
        for label, (base, changes) in SETTINGS[data]().items()
        if label in only
    ]


def _endless(label: str, changes: Overrides) -> Overrides:
    """With more rounds than fit into any of the times, and room for all their images.

    The banks of the generative methods and of shapes hold the newest rounds, as their recipes say.
    """
    bank = {} if label in (*GENERATIVE, "shapes") else {"bank.capacity": 20_000}
    return {**changes, "synthesis.rounds": 100_000, **bank}
