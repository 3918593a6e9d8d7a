"""The table of methods.

To add a method: write a section in this package and a class in `core/methods/`, and add a line to
`METHODS`. A user's module adds its own method by `METHODS["mine"] = MySection`, before a recipe is
read.
"""

from __future__ import annotations

from fastdfkd.recipe.methods.cmi import CMISynthesis
from fastdfkd.recipe.methods.deep_inversion import DeepInversionSynthesis
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.section import SynthesisSection

METHODS: dict[str, type[SynthesisSection]] = {
    "fast": FastSynthesis,
    "deep_inversion": DeepInversionSynthesis,
    "cmi": CMISynthesis,
}
"""Values of `synthesis.method` to the section of each."""

DefaultMethod = FastSynthesis
"""The section of a recipe without `synthesis.method`."""
