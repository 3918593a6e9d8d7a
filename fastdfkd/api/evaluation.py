"""Opening a run's folder again, to judge its student. Nothing in it is trusted or unpickled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.folder import read_json

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.core.image_spec import ImageSpec


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a student does on held-out images."""

    directory: Path
    judged_on: str
    """What the images are: `held-out real images`."""
    images: int
    """Number of images; 0: there are none, and no figure is known."""
    accuracy: float | None
    """Share that the student classifies rightly, 0 to 1; None: there are no real images."""
    figures: Mapping[str, float]
    """All of the student's figures, 0 to 1, by their names in tables: accuracy, top-5 accuracy."""
    teacher_accuracy: float | None
    """The same for the teacher; None when it cannot be had either."""
    agreement: float | None
    """Share where student and teacher say the same; None when either is unknown."""
    note: str
    """Which teacher was compared with, or why none was."""


def evaluate_folder(directory: Path, *, data_root: str | Path | None = None) -> Evaluation:
    """Judge the student in a run's folder; see `fastdfkd.evaluate`."""
    recipe_file, student_file = directory / "recipe.yaml", directory / "student.safetensors"
    for file in (recipe_file, student_file):
        if not file.is_file():
            raise FileNotFoundError(f"{directory} holds no run to evaluate: {file.name} is missing")
    recipe = load_recipe(recipe_file)
    from fastdfkd.experiment import image_spec, judge_of
    from fastdfkd.models import open_network

    spec, judge = image_spec(recipe), judge_of(recipe, data_root)
    normalise = spec.normalisation("cpu")
    student = open_network(recipe.student, spec, student_file)
    answers = judge.answers(student, normalise, "cpu", output=recipe.student.output)
    teacher, note = _find_teacher(recipe, spec, directory)
    taught: dict[str, float] = {}
    teacher_answers = None
    if teacher is not None:
        output = recipe.teacher.output
        teacher_answers = judge.answers(teacher, normalise, "cpu", output=output)
        taught = judge.figures(teacher_answers)
    found = judge.figures(answers, teacher_answers)
    return Evaluation(
        directory=directory,
        judged_on=judge.judged_on,
        images=len(judge),
        accuracy=found.get("accuracy"),
        figures={name: found[key] for key, name in spec.kind.figures.items() if key in found},
        teacher_accuracy=taught.get("accuracy"),
        agreement=found.get("agreement"),
        note=note,
    )


def _find_teacher(recipe: Recipe, spec: ImageSpec, directory: Path) -> tuple[nn.Module | None, str]:
    """The teacher that `teacher.json` names by digest, and how it was found; it is not trained."""
    from fastdfkd.models import open_network, weights_digest

    file = directory / "teacher.json"
    facts = read_json(file) if file.is_file() else {}
    digest = facts.get("digest")
    if not digest:
        return None, "teacher.json does not say which teacher it was"
    if facts.get("source") == "module":
        return None, "the teacher was a network given from Python"
    named = [directory / "teacher.safetensors", facts.get("weights"), recipe.teacher.weights]
    for path in (Path(str(name)).expanduser() for name in named if name):
        if not os.path.isfile(path):  # unlike Path.is_file, quiet about impossible names
            continue
        network = open_network(recipe.teacher, spec, path)
        if weights_digest(network.state_dict()) == digest:
            return network, f"with the teacher in {path}"
    return None, "the teacher's weights are gone: nothing with its digest was found"
