"""The recipe section of `synthesis.method: auto`."""

from __future__ import annotations

from typing import Literal

from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.section import AutoWeight, SynthesisSection
from fastdfkd.recipe.methods.shapes import ShapesSynthesis
from fastdfkd.recipe.methods.teacher_traits import TeacherTraits
from fastdfkd.recipe.numbers import Positive


class AutoSynthesis(FastSynthesis):
    """The method that suits the teacher: `fast` if it has running statistics, else `shapes`.

    The keys of both can be set; those of the other one have no effect. The run's notes say which
    method was chosen, and why.
    """

    method: Literal["auto"]  # type: ignore[assignment]
    """Selects the method by what the teacher has."""
    bn: AutoWeight = "auto"
    """Weight of L_bn; see `fast`."""
    shapes: Positive = 6
    """See `shapes`."""
    candidates: Positive = 4
    """See `shapes`."""

    @property
    def summary(self) -> str:
        """The name; the method is not known yet."""
        return self.method

    @property
    def is_open(self) -> bool:
        """Always."""
        return True

    def settled(self, traits: TeacherTraits) -> SynthesisSection:
        """The section of `fast` or of `shapes` with these keys."""
        section = FastSynthesis if traits.statistics else ShapesSynthesis
        name = section.method_name()
        keys = section.model_fields.keys() - {"method"}
        chosen = section(method=name, **{key: getattr(self, key) for key in keys})
        return chosen.settled(traits)
