"""The teacher of a finished run, opened when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from fastdfkd.api.evaluation import find_teacher
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.recipe import Recipe


@dataclass(frozen=True)
class RunTeacher:
    """Returns the teacher of a run, or None if no weights with its digest were found."""

    recipe: Recipe
    spec: ImageSpec
    """The images as the teacher reads them."""
    folder: Path

    def __call__(self) -> nn.Module | None:
        """The teacher."""
        return self.found[0]

    @cached_property
    def found(self) -> tuple[nn.Module | None, str]:
        """The teacher, and a note that says which it is or why there is none."""
        return find_teacher(self.recipe, self.spec, self.folder)
