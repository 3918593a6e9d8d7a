"""Ways of making images from a teacher. A new one is a class and a line in `SYNTHESIZERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.synthesizers.deep_inversion import DeepInversion
from fastdfkd.core.synthesizers.fast import FastSynthesizer

if TYPE_CHECKING:
    from fastdfkd.recipe import DeepInversionSynthesis, FastSynthesis

SYNTHESIZERS: dict[str, Callable[..., Synthesizer]] = {
    "fast": FastSynthesizer,
    "deep_inversion": DeepInversion,
}


def build_synthesizer(section: FastSynthesis | DeepInversionSynthesis, **parts: Any) -> Synthesizer:
    """The synthesizer that `section.method` names, from the parts its class asks for."""
    return SYNTHESIZERS[section.method](section, **parts)
