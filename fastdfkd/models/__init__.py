"""Classifiers by name, and opening a user's own teacher.

`build_network` makes a network of the table; `open_network` also takes `package.module:builder`
and loads weights; `save_weights` writes them. Weights are read as safetensors or with
`weights_only=True`: nothing here unpickles objects.
"""

from fastdfkd.models.opening import open_network, save_weights, weights_digest
from fastdfkd.models.table import CLASSIFIERS, build_network
from fastdfkd.models.unwrapping import baked, parametrised_layers, plain_network
from fastdfkd.models.weights import load_weights

__all__ = [
    "CLASSIFIERS",
    "baked",
    "build_network",
    "load_weights",
    "open_network",
    "parametrised_layers",
    "plain_network",
    "save_weights",
    "weights_digest",
]
