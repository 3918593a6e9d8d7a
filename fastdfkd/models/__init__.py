"""Networks: a table of classifiers, and networks and weights of the user's own.

`build_network` builds a network of the table. `open_network` builds the network that a recipe
describes, which may be `package.module:builder`, and loads weights. `save_weights` writes weights.
Weights are read as safetensors or by `torch.load(weights_only=True)`: no pickled object is loaded.
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
