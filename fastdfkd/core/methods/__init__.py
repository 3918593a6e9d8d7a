"""Methods of making images from a teacher.

A method is a class here that implements `Synthesizer`, its recipe section in `recipe/methods/`
and a line in the table there. The section names the class, so nothing else does.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

from fastdfkd.core.interfaces import SharedGenerator, Synthesizer
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import SynthesisSection


def build_synthesizer(section: SynthesisSection, task: Task, index: int = 0) -> Synthesizer:
    """The synthesizer of a method's section; `index` is its number among several.

    Raises:
        ValueError: the section names a class that cannot be imported.
    """
    return _implementation(section)(section, task, index)


def build_shared_generator(section: SynthesisSection, task: Task) -> SharedGenerator | None:
    """The generator that several synthesizers of a section train together, before its first round.

    Returns:
        On `task.device`; None where every synthesizer has its own (`shares_generator`).

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
