"""The recipe sections of the synthesis methods, and the table of methods.

`core/methods/` implements them. A section names its implementation, but this package does not
import it.
"""

from fastdfkd.recipe.methods.auto import AutoSynthesis
from fastdfkd.recipe.methods.cmi import CMISynthesis
from fastdfkd.recipe.methods.dafl import DAFLSynthesis
from fastdfkd.recipe.methods.deep_inversion import DeepInversionSynthesis
from fastdfkd.recipe.methods.dfad import DFADSynthesis
from fastdfkd.recipe.methods.dfq import DFQSynthesis
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.generative import GenerativeSection
from fastdfkd.recipe.methods.generator_section import GeneratorSection
from fastdfkd.recipe.methods.nayer import NAYERSynthesis
from fastdfkd.recipe.methods.section import InversionSection, SynthesisSection
from fastdfkd.recipe.methods.selection import AnyMethod
from fastdfkd.recipe.methods.shapes import ShapesSynthesis
from fastdfkd.recipe.methods.table import METHODS, DefaultMethod
from fastdfkd.recipe.methods.zskt import ZSKTSynthesis

__all__ = [
    "METHODS",
    "AnyMethod",
    "AutoSynthesis",
    "CMISynthesis",
    "DAFLSynthesis",
    "DFADSynthesis",
    "DFQSynthesis",
    "DeepInversionSynthesis",
    "DefaultMethod",
    "FastSynthesis",
    "GenerativeSection",
    "GeneratorSection",
    "InversionSection",
    "NAYERSynthesis",
    "ShapesSynthesis",
    "SynthesisSection",
    "ZSKTSynthesis",
]
