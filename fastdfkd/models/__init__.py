"""Networks: a table of classifiers, and networks and weights of the user's own.

`build_network` builds a network of the table. `open_network` builds the network that a recipe's
section describes, from any source, and loads weights; `open_with_weights` also reports what was
loaded. `save_weights` writes weights. Nothing of a weights file is executed. The code that a recipe
names (a builder, a program) is executed.
"""

from fastdfkd.models.huggingface import InputDefaults, input_defaults
from fastdfkd.models.opening import (
    OpenedNetwork,
    brings_weights,
    open_network,
    open_with_weights,
    stated_input,
)
from fastdfkd.models.source_files import SourceFile, source_files
from fastdfkd.models.table import CLASSIFIERS, NETWORKS, SEGMENTERS, build_network
from fastdfkd.models.unwrapping import parametrised_layers, plain_network, without_parametrisations
from fastdfkd.models.weight_selection import select_weights
from fastdfkd.models.weights import OpenedWeights, load_weights, save_weights, weights_digest

__all__ = [
    "CLASSIFIERS",
    "NETWORKS",
    "SEGMENTERS",
    "InputDefaults",
    "OpenedNetwork",
    "OpenedWeights",
    "SourceFile",
    "brings_weights",
    "build_network",
    "input_defaults",
    "load_weights",
    "open_network",
    "open_with_weights",
    "parametrised_layers",
    "plain_network",
    "save_weights",
    "select_weights",
    "source_files",
    "stated_input",
    "weights_digest",
    "without_parametrisations",
]
