"""Opens the student of a finished run, with what the run says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.experiment import image_spec, student_spec
from fastdfkd.models import open_network, weights_digest, without_parametrisations
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.folder import read_json
from fastdfkd.runs.result import RunResult

STUDENT_FILE = "student.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedStudent:
    """The student of a run, and the files of the run that describe it."""

    folder: Path
    """Of the run."""
    recipe: Recipe
    network: nn.Module
    """In eval mode, float32, on the CPU."""
    spec: ImageSpec
    """The images as the student reads them."""
    teacher_spec: ImageSpec
    """The images as the teacher reads them."""
    result: RunResult
    teacher: dict[str, Any]
    """Content of `teacher.json`; empty if the run has none."""

    @classmethod
    def of(cls, folder: Path) -> FinishedStudent:
        """Open the student of a run. No file of the folder is unpickled.

        The texts of the recipe's Python files must be given (`recipe.source_texts.given`).

        Raises:
            FileNotFoundError: the folder holds no finished run, or a run without a student.
            ValueError: a file in it is damaged.
        """
        weights = folder / STUDENT_FILE
        result = RunResult.load(folder)
        if not weights.is_file():
            raise FileNotFoundError(
                f"{folder} holds no student: {weights.name} is missing, as after a run that only "
                "made images"
            )
        recipe = load_recipe(folder / "recipe.yaml")
        spec = student_spec(recipe)
        network = without_parametrisations(open_network(recipe.student, spec, weights))
        about = folder / "teacher.json"
        return cls(
            folder=folder,
            recipe=recipe,
            network=network.eval().requires_grad_(False),
            spec=spec,
            teacher_spec=image_spec(recipe),
            result=result,
            teacher=read_json(about) if about.is_file() else {},
        )

    @property
    def known_to_transformers(self) -> bool:
        """Whether transformers can build its architecture, which a thinned network's is not."""
        section = self.recipe.student
        return section.model.startswith("hf:") and section.width == 1

    @property
    def digest(self) -> str:
        """SHA-256 of its weights."""
        return weights_digest(self.network.state_dict())
