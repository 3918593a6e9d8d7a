"""A thinner network of the same architecture: a share of the channels of every layer.

Which tensors share their channels is found by Torch-Pruning (`channel_removal.py`). Of channels
that hang together evenly spaced ones are kept, first and last among them, as in
`weight_selection.py`. Weights and statistics come along. The logits stay whole.
"""

from __future__ import annotations

import importlib
import logging
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import logits_in
from fastdfkd.core.onednn_fault import PixelSelectingConv2d, is_corrupting
from fastdfkd.models.channel_removal import remove_channels
from fastdfkd.models.unwrapping import without_parametrisations
from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason

log = logging.getLogger(__name__)
PATIENCE_S = 30.0
_SLOW = (
    "%s is still being thinned after %g s. Networks that concatenate many maps, such as DenseNet, "
    "take long: if it takes too long, name a smaller network instead of a `width`"
)


def thin(network: nn.Module, width: float, shape: tuple[int, int, int]) -> None:
    """Keep a share of the channels of every layer, in place.

    The number of channels is rounded down. A layer of which none would be left keeps all. So do the
    logits, and queries, keys and values of attention. Features that the network returns beside them
    become thinner. GroupNorms and grouped convolutions keep their number of groups. Parametrised
    layers become plain ones. A warning is logged if it takes longer than `PATIENCE_S`.

    Args:
        network: built in Python. It is run on images of zeros, in eval mode, and in train mode if
            it has layers that run in no other.
        width: share of the channels, above 0 and below 1.
        shape: (C, H, W) of the images.

    Raises:
        RecipeError: the network cannot be followed, does not run afterwards, or has no channels
            that could be removed.
    """
    importlib.import_module("torch_pruning")  # it takes seconds, which are none of the network's
    without_parametrisations(network)
    before, training = _parameters(network), network.training
    trained = {name: each.requires_grad for name, each in _named(network)}
    images = torch.zeros(1, *shape)
    network.eval().requires_grad_(True)  # Torch-Pruning follows the gradient's graph
    slow = threading.Timer(PATIENCE_S, log.warning, [_SLOW, type(network).__name__, PATIENCE_S])
    slow.daemon = True
    slow.start()
    try:
        logits = tuple(logits_in(network(images)).shape)
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters outside of layers
            remove_channels(network, width, images, _tensors)
        with torch.no_grad():
            after = tuple(logits_in(network(images)).shape)
    except Exception as error:  # the network's own code may raise anything
        raise _refused(width, reason(error)) from error
    finally:
        slow.cancel()
    if after != logits:
        raise _refused(width, f"its logits became {after}, expected {logits}")
    if _parameters(network) == before:
        raise _refused(width, "no layer has channels that can be removed")
    for layer in network.modules():
        if is_corrupting(layer) and not any(layer.padding):
            PixelSelectingConv2d.convert(layer)
    network.train(training)
    for name, each in _named(network):
        each.requires_grad_(trained[name])


def _refused(width: float, why: str) -> RecipeError:
    return RecipeError(
        f"this network cannot be thinned to a width of {width:g} ({why}): remove `width`, and name "
        "a smaller network"
    )


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _named(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """All names, also those of one parameter: thinned layers share none any more."""
    return network.named_parameters(remove_duplicate=False)


def _tensors(answer: object) -> list[Tensor]:
    """All tensors of an answer: of mappings, sequences, and the attributes of other objects."""
    if isinstance(answer, Tensor):
        return [answer]
    parts: Iterable[object] = ()
    if isinstance(answer, Mapping):
        parts = answer.values()
    elif isinstance(answer, list | tuple):
        parts = answer
    elif hasattr(answer, "__dict__"):
        parts = vars(answer).values()
    return [tensor for part in parts for tensor in _tensors(part)]
