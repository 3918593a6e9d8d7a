"""The table of methods.

To add a method: write a section in this package and a class in `core/methods/`, and add a line to
`METHODS`. A user's module adds its own method by `METHODS["mine"] = MySection`, before a recipe is
read.
"""

from __future__ import annotations

from fastdfkd.recipe.methods.auto import AutoSynthesis
from fastdfkd.recipe.methods.cmi import CMISynthesis
from fastdfkd.recipe.methods.dafl import DAFLSynthesis
from fastdfkd.recipe.methods.deep_inversion import DeepInversionSynthesis
from fastdfkd.recipe.methods.dfad import DFADSynthesis
from fastdfkd.recipe.methods.dfq import DFQSynthesis
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.nayer import NAYERSynthesis
from fastdfkd.recipe.methods.section import SynthesisSection
from fastdfkd.recipe.methods.shapes import ShapesSynthesis
from fastdfkd.recipe.methods.zskt import ZSKTSynthesis

METHODS: dict[str, type[SynthesisSection]] = {
    "fast": FastSynthesis,
    "deep_inversion": DeepInversionSynthesis,
    "cmi": CMISynthesis,
    "dafl": DAFLSynthesis,
    "zskt": ZSKTSynthesis,
    "dfq": DFQSynthesis,
    "dfad": DFADSynthesis,
    "nayer": NAYERSynthesis,
    "shapes": ShapesSynthesis,
    "auto": AutoSynthesis,
}
"""Values of `synthesis.method` to the section of each."""

DefaultMethod = FastSynthesis
"""The section of a recipe without `synthesis.method`."""
