"""Evaluates the student in a run's folder. No file of the folder is unpickled.

The folder's recipe names the networks. Their code is run: an installed builder, or a Python file
whose text the folder holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.runs.figures import SYNTHETIC
from fastdfkd.runs.folder import how_to_finish, read_json

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.core.image_spec import ImageSpec

_CHANGEABLE = {"data", "evaluation"}
"""Sections of the recipe that say which images a student is evaluated on."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of a student on held-out images."""

    directory: Path
    """Folder of the run."""
    judged_on: str
    """What the images are, for example `held-out real images`."""
    images: int
    """Number of images; 0: there are none, and all figures are None."""
    accuracy: float | None
    """Share that the student classifies correctly, 0 to 1; None: there are no real images."""
    figures: Mapping[str, float]
    """All of the student's figures, 0 to 1, by their names in tables: accuracy, top-5 accuracy."""
    teacher_figures: Mapping[str, float]
    """The teacher's; empty also if the teacher was not found."""
    teacher_accuracy: float | None
    """The teacher's accuracy; None also if the teacher was not found."""
    class_ious: Mapping[str, Mapping[str, float | None]]
    """Intersection over union of each class, 0 to 1, None for an absent one: by `student` and
    `teacher`, then by class. Empty without real images, and for classifiers."""
    agreement: float | None
    """Share that student and teacher assign to the same class, 0 to 1; None as for the teacher."""
    synthetic: Mapping[str, float]
    """The student's figures on held-out synthetic images, by column (`runs.figures.SYNTHETIC`)."""
    note: str
    """Which teacher the student was compared with, or why there was none."""

    def facts(self) -> dict[str, Any]:
        """The evaluation as plain data for JSON."""
        return {
            "directory": str(self.directory),
            "judged_on": self.judged_on,
            "images": self.images,
            "accuracy": self.accuracy,
            "figures": dict(self.figures),
            "teacher_accuracy": self.teacher_accuracy,
            "teacher_figures": dict(self.teacher_figures),
            "class_ious": {who: dict(ious) for who, ious in self.class_ious.items()},
            "agreement": self.agreement,
            "synthetic": dict(self.synthetic),
            "note": self.note,
        }


def evaluate_folder(
    directory: Path, overrides: Overrides = (), *, data_root: str | Path | None = None
) -> Evaluation:
    """Evaluate the student in a run's folder; see `fastdfkd.evaluate`."""
    recipe_file, student_file = directory / "recipe.yaml", directory / "student.safetensors"
    for file in (recipe_file, student_file):
        if not file.is_file():
            raise FileNotFoundError(
                f"{directory} holds no run to evaluate: {file.name} is missing"
                f"{how_to_finish(directory)}"
            )
    recipe = _judged_as(load_recipe(recipe_file), overrides)
    from fastdfkd.core.answers import output_of
    from fastdfkd.experiment import by_class, image_spec, judge_of, student_input, student_spec
    from fastdfkd.models import open_network

    spec = image_spec(recipe)
    normalise = spec.normalisation("cpu")
    student = open_network(recipe.student, student_spec(recipe), student_file)
    teacher, note = find_teacher(recipe, spec, directory)
    judge = judge_of(recipe, teacher, root=data_root)
    reads = student_input(recipe, "cpu")
    answers = judge.answers(student, reads, "cpu", output=recipe.student.output)
    taught: dict[str, float] = {}
    teacher_answers = None
    if teacher is not None:
        output = output_of(recipe.teacher)
        teacher_answers = judge.answers(teacher, normalise, "cpu", output=output)
        taught = judge.figures(teacher_answers)
    found = judge.figures(answers, teacher_answers)
    return Evaluation(
        directory=directory,
        judged_on=judge.judged_on,
        images=len(judge),
        accuracy=found.get("accuracy"),
        figures={name: found[key] for key, name in spec.kind.figures.items() if key in found},
        teacher_figures={
            name: taught[key] for key, name in spec.kind.figures.items() if key in taught
        },
        teacher_accuracy=taught.get("accuracy"),
        class_ious={
            role: by_class(spec, found.class_ious)
            for role, found in (("student", answers), ("teacher", teacher_answers))
            if found is not None and found.class_ious
        },
        agreement=found.get("agreement"),
        synthetic={name: found[name] for name in SYNTHETIC if name in found},
        note=note,
    )


def _judged_as(recipe: Recipe, overrides: Overrides) -> Recipe:
    """The recipe with other held-out images; the rest describes a student that is trained."""
    changed = load_recipe(recipe, overrides)
    before, after = (each.model_dump(exclude=_CHANGEABLE) for each in (recipe, changed))
    if before != after:
        sections = ", ".join(name for name in before if before[name] != after[name])
        raise ValueError(
            f"evaluate changes {' and '.join(sorted(_CHANGEABLE))} only, got a change of "
            f"{sections}: the student is trained already"
        )
    return changed


def find_teacher(recipe: Recipe, spec: ImageSpec, directory: Path) -> tuple[nn.Module | None, str]:
    """Open the teacher whose digest is in `teacher.json`; it is never trained here.

    Returns:
        The teacher, or None if it was not found, and a note that says which it is or why not.
    """
    from fastdfkd.models import open_network, weights_digest

    file = directory / "teacher.json"
    facts = read_json(file) if file.is_file() else {}
    digest = facts.get("digest")
    if not digest:
        return None, "teacher.json has no digest of the teacher"
    if facts.get("source") == "module":
        return None, "the teacher was a network given from Python, which is not stored"
    if facts.get("source") == "network":
        network = open_network(recipe.teacher, spec)
        if weights_digest(network.state_dict()) == digest:
            return network, f"with the teacher {recipe.teacher.model}"
        return None, f"{recipe.teacher.model} now has other weights"
    named = [directory / "teacher.safetensors", facts.get("weights"), recipe.teacher.weights]
    for path in (Path(str(name)).expanduser() for name in named if name):
        if not os.path.exists(path):  # Path.exists raises for names that cannot exist
            continue
        entry = recipe.teacher.entry if path != directory / "teacher.safetensors" else None
        network = open_network(recipe.teacher, spec, path, entry=entry)
        if weights_digest(network.state_dict()) == digest:
            return network, f"with the teacher in {path}"
    return None, "no weights with the teacher's digest were found"
