"""The table of methods: a new method is a line here, a section in this package and a class.

A user's module adds its own the same way: `METHODS["mine"] = MySection`, before recipes are read.
"""

from __future__ import annotations

from fastdfkd.recipe.methods.deep_inversion import DeepInversionSynthesis
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.section import SynthesisSection

METHODS: dict[str, type[SynthesisSection]] = {
    "fast": FastSynthesis,
    "deep_inversion": DeepInversionSynthesis,
}
"""What `synthesis.method` may be: name to section."""

DefaultMethod = FastSynthesis
"""The section of a recipe that names no method."""
