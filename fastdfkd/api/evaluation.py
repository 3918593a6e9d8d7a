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

    from fastdfkd.data import DataSpec


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a student does on the real held-out images."""

    directory: Path
    images: int
    """Held-out images."""
    accuracy: float
    """Share that the student classifies rightly, 0 to 1."""
    figures: Mapping[str, float]
    """All of the student's figures, 0 to 1, by their names in tables: accuracy, top-5 accuracy."""
    teacher_accuracy: float | None
    """The same for the teacher; None when it cannot be had."""
    agreement: float | None
    """Share where student and teacher say the same; None when the teacher cannot be had."""
    note: str
    """Which teacher was compared with, or why none was."""


def evaluate_folder(directory: Path, *, data_root: str | Path | None = None) -> Evaluation:
    """Judge the student in a run's folder; see `fastdfkd.evaluate`."""
    recipe_file, student_file = directory / "recipe.yaml", directory / "student.safetensors"
    for file in (recipe_file, student_file):
        if not file.is_file():
            raise FileNotFoundError(f"{directory} holds no run to evaluate: {file.name} is missing")
    recipe = load_recipe(recipe_file)
    from fastdfkd.core.augment import Normalisation
    from fastdfkd.data import data_spec, load_split
    from fastdfkd.models import open_network
    from fastdfkd.trainers.evaluation import agreement, evaluate

    spec = data_spec(recipe.data.name)
    test = load_split(spec.name, "test", data_root or recipe.data.root)
    student = open_network(
        recipe.student.model,
        spec.num_classes,
        spec.image_shape[0],
        student_file,
        arguments=recipe.student.arguments,
        key="student.model",
    )
    normalise = Normalisation(spec.mean, spec.std, "cpu")
    kind, seen = spec.kind, (test.images, test.labels)
    found = evaluate(student, *seen, kind, normalise, "cpu", output=recipe.student.output)
    teacher, note = _find_teacher(recipe, spec, directory)
    taught = None
    if teacher is not None:
        taught = evaluate(teacher, *seen, kind, normalise, "cpu", output=recipe.teacher.output)
    return Evaluation(
        directory=directory,
        images=len(test),
        accuracy=found.figures["accuracy"],
        figures={name: found.figures[figure] for figure, name in kind.figures.items()},
        teacher_accuracy=None if taught is None else taught.figures["accuracy"],
        agreement=None if taught is None else agreement(found.classes, taught.classes),
        note=note,
    )


def _find_teacher(recipe: Recipe, spec: DataSpec, directory: Path) -> tuple[nn.Module | None, str]:
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
        network = open_network(
            recipe.teacher.model,
            spec.num_classes,
            spec.image_shape[0],
            path,
            arguments=recipe.teacher.arguments,
            key="teacher.model",
        )
        if weights_digest(network.state_dict()) == digest:
            return network, f"with the teacher in {path}"
    return None, "the teacher's weights are gone: nothing with its digest was found"
