"""What a method's section needs to know of a teacher to choose its open values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TeacherTraits:
    """What a teacher offers to synthesis; `core/teacher_traits.py` finds it."""

    statistics: int
    """Number of layers whose running statistics a forward pass uses."""
    features: bool
    """Whether the input of the last layer can be seen."""
    patch: int | None
    """Side of the patches in pixels, if the teacher is a transformer on patches."""
