"""Classifiers by name, and opening a user's own network, from wherever it comes.

`build_network` makes a network of the table; `open_network` takes a recipe's section, whatever
source it names, and loads weights; `opened` says also what was loaded; `save_weights` writes them.
Nothing of a weights file is executed. A recipe names code (a builder, a program), which is.
"""

from fastdfkd.models.huggingface import InputDefaults, input_defaults
from fastdfkd.models.opening import OpenedNetwork, brings_weights, open_network, opened
from fastdfkd.models.source_files import SourceFile, source_files
from fastdfkd.models.table import CLASSIFIERS, build_network
from fastdfkd.models.unwrapping import baked, parametrised_layers, plain_network
from fastdfkd.models.weights import OpenedWeights, load_weights, save_weights, weights_digest

__all__ = [
    "CLASSIFIERS",
    "InputDefaults",
    "OpenedNetwork",
    "OpenedWeights",
    "SourceFile",
    "baked",
    "brings_weights",
    "build_network",
    "input_defaults",
    "load_weights",
    "open_network",
    "opened",
    "parametrised_layers",
    "plain_network",
    "save_weights",
    "source_files",
    "weights_digest",
]
