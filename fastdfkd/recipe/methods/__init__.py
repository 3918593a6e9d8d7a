"""The methods of making images, as data: a recipe section for each, and the table of them.

`core/methods/` implements them. Each section names its class, which this package never imports.
"""

from fastdfkd.recipe.methods.deep_inversion import DeepInversionSynthesis
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.section import InversionSection, SynthesisSection
from fastdfkd.recipe.methods.selection import AnyMethod
from fastdfkd.recipe.methods.table import METHODS, DefaultMethod

__all__ = [
    "METHODS",
    "AnyMethod",
    "DeepInversionSynthesis",
    "DefaultMethod",
    "FastSynthesis",
    "InversionSection",
    "SynthesisSection",
]
