"""Ways of making images from a teacher. A new one is a class and a line in `SYNTHESIZERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.methods.deep_inversion import DeepInversion
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import DeepInversionSynthesis, FastSynthesis

SYNTHESIZERS: dict[str, Callable[..., Synthesizer]] = {
    "fast": FastSynthesizer,
    "deep_inversion": DeepInversion,
}


def build_synthesizer(
    section: FastSynthesis | DeepInversionSynthesis, task: Task, index: int = 0
) -> Synthesizer:
    """The synthesizer that `section.method` names; `index` is its number among several."""
    return SYNTHESIZERS[section.method](section, task, index)
