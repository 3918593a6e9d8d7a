"""Synthesis methods: ways to make images from a teacher.

A method is a class in this package that implements `Synthesizer`, a recipe section in
`recipe/methods/` and a line in the table there. The section names the class; no other module does.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

from fastdfkd.core.interfaces import SharedGenerator, Synthesizer
from fastdfkd.core.task import Task
from fastdfkd.core.teacher_traits import resolve_auto

if TYPE_CHECKING:
    from fastdfkd.recipe import SynthesisSection


def build_synthesizer(section: SynthesisSection, task: Task, index: int = 0) -> Synthesizer:
    """Build the synthesizer that a section configures.

    Args:
        section: of any method.
        task: teacher, student, image shape, seed and device.
        index: number of this synthesizer among several.

    Raises:
        ValueError: the section names a class that cannot be imported.
    """
    section, _ = resolve_auto(section, task.teacher, task.image_shape)
    return _implementation(section)(section, task, index)


def build_shared_generator(section: SynthesisSection, task: Task) -> SharedGenerator | None:
    """Build the generator that several synthesizers train together, in its initial state.

    Returns:
        The generator on `task.device`; None if the section's `shares_generator` is false.

    Raises:
        ValueError: the section names a class that cannot be imported.
    """
    if not section.shares_generator:
        return None
    return _implementation(section).shared_generator(section, task)


def _implementation(section: SynthesisSection) -> type[Synthesizer]:
    try:
        found: type[Synthesizer] = pkgutil.resolve_name(section.implementation)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"synthesis.method {section.method_name()}: its class {section.implementation} cannot "
            f"be imported: {error}"
        ) from error
    return found
