"""The recipe sections of the synthesis methods, and the table of methods.

`core/methods/` implements them. A section names its implementation, but this package does not
import it.
"""

from fastdfkd.recipe.methods.cmi import CMISynthesis
from fastdfkd.recipe.methods.deep_inversion import DeepInversionSynthesis
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.section import InversionSection, SynthesisSection
from fastdfkd.recipe.methods.selection import AnyMethod
from fastdfkd.recipe.methods.table import METHODS, DefaultMethod

__all__ = [
    "METHODS",
    "AnyMethod",
    "CMISynthesis",
    "DeepInversionSynthesis",
    "DefaultMethod",
    "FastSynthesis",
    "InversionSection",
    "SynthesisSection",
]
