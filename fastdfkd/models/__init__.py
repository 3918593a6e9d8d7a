"""Networks: a table of classifiers, and networks and weights of the user's own.

`build_network` builds a network of the table. `open_network` builds the network that a recipe's
section describes, from any source, and loads weights; `open_with_weights` also reports what was
loaded. `save_weights` writes weights. Nothing of a weights file is executed. The code that a recipe
names (a builder, a program) is executed.

A name is imported when it is first used: the table needs torch alone, opening a network more.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastdfkd.models.huggingface import InputDefaults, input_defaults
    from fastdfkd.models.network_sources import SourceFile, source_files
    from fastdfkd.models.opening import (
        OpenedNetwork,
        brings_weights,
        open_network,
        open_with_weights,
        stated_input,
    )
    from fastdfkd.models.table import CLASSIFIERS, NETWORKS, SEGMENTERS, build_network
    from fastdfkd.models.thinning import thin
    from fastdfkd.models.unwrapping import (
        parametrised_layers,
        plain_network,
        without_parametrisations,
    )
    from fastdfkd.models.weight_selection import (
        evenly_spaced_modules,
        same_modules,
        select_weights,
    )
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
    "evenly_spaced_modules",
    "input_defaults",
    "load_weights",
    "open_network",
    "open_with_weights",
    "parametrised_layers",
    "plain_network",
    "same_modules",
    "save_weights",
    "select_weights",
    "source_files",
    "stated_input",
    "thin",
    "weights_digest",
    "without_parametrisations",
]

_MODULES = {
    "InputDefaults": "fastdfkd.models.huggingface",
    "input_defaults": "fastdfkd.models.huggingface",
    "OpenedNetwork": "fastdfkd.models.opening",
    "brings_weights": "fastdfkd.models.opening",
    "open_network": "fastdfkd.models.opening",
    "open_with_weights": "fastdfkd.models.opening",
    "stated_input": "fastdfkd.models.opening",
    "SourceFile": "fastdfkd.models.network_sources",
    "source_files": "fastdfkd.models.network_sources",
    "CLASSIFIERS": "fastdfkd.models.table",
    "NETWORKS": "fastdfkd.models.table",
    "SEGMENTERS": "fastdfkd.models.table",
    "build_network": "fastdfkd.models.table",
    "thin": "fastdfkd.models.thinning",
    "parametrised_layers": "fastdfkd.models.unwrapping",
    "plain_network": "fastdfkd.models.unwrapping",
    "without_parametrisations": "fastdfkd.models.unwrapping",
    "evenly_spaced_modules": "fastdfkd.models.weight_selection",
    "same_modules": "fastdfkd.models.weight_selection",
    "select_weights": "fastdfkd.models.weight_selection",
    "OpenedWeights": "fastdfkd.models.weights",
    "load_weights": "fastdfkd.models.weights",
    "save_weights": "fastdfkd.models.weights",
    "weights_digest": "fastdfkd.models.weights",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
