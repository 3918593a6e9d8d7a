"""A thinner network of the same architecture: a share of the channels of every layer.

Which tensors share their channels is found by Torch-Pruning, which follows one forward pass
(DepGraph, Fang et al., arXiv 2301.12900). Of channels that hang together evenly spaced ones are
kept, first and last among them, as in `weight_selection.py`. Weights and statistics come along. The
outputs of the network stay whole.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.even_spacing import evenly_spaced
from fastdfkd.core.onednn_fault import PixelSelectingConv2d, is_corrupting
from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason

log = logging.getLogger(__name__)
PATIENCE_S = 30.0
_SLOW = (
    "%s is still being thinned after %g s. Networks that shift or cut their maps, such as Swin, "
    "may take very long: name a smaller network instead of a `width`"
)


def thin(network: nn.Module, width: float, shape: tuple[int, int, int]) -> None:
    """Keep a share of the channels of every layer, in place.

    The number of channels is rounded down. A layer of which none would be left keeps all. So do the
    outputs, and queries, keys and values of attention. GroupNorms and grouped convolutions keep
    their number of groups. A warning is logged if it takes longer than `PATIENCE_S`.

    Args:
        network: built in Python. It is run once on an image of zeros, in eval mode.
        width: share of the channels, above 0 and below 1.
        shape: (C, H, W) of the images.

    Raises:
        RecipeError: the network cannot be followed, does not run afterwards, or has no channels
            that could be removed.
    """
    before, training = _parameters(network), network.training
    trained = {name: each.requires_grad for name, each in network.named_parameters()}
    images = torch.zeros(1, *shape)
    network.eval().requires_grad_(True)  # Torch-Pruning follows the gradient's graph
    slow = threading.Timer(PATIENCE_S, log.warning, [_SLOW, type(network).__name__, PATIENCE_S])
    slow.daemon = True
    slow.start()
    try:
        answers = _sizes(network(images))
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters outside of layers
            _remove_channels(network, width, images)
        with torch.no_grad():
            after = _sizes(network(images))
    except Exception as error:  # the network's own code may raise anything
        raise _refused(width, reason(error)) from error
    finally:
        slow.cancel()
    if after != answers:
        raise _refused(width, f"its outputs became {after}, expected {answers}")
    if _parameters(network) == before:
        raise _refused(width, "no layer has channels that can be removed")
    for layer in network.modules():
        if is_corrupting(layer) and not any(layer.padding):
            PixelSelectingConv2d.convert(layer)
    network.train(training)
    for name, each in network.named_parameters():
        each.requires_grad_(trained[name])


def _refused(width: float, why: str) -> RecipeError:
    return RecipeError(
        f"this network cannot be thinned to a width of {width:g} ({why}): remove `width`, and name "
        "a smaller network"
    )


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


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


def _sizes(answer: object) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in _tensors(answer)]


def _remove_channels(network: nn.Module, width: float, images: Tensor) -> None:
    import torch_pruning

    def followed(answer: object) -> list[Tensor]:
        return [tensor for tensor in _tensors(answer) if tensor.grad_fn is not None]

    given = {"example_inputs": (images,), "output_transform": followed}
    graph = torch_pruning.DependencyGraph().build_dependency(network, verbose=False, **given)
    whole = [
        group[0].dep.target.module
        for group in graph.get_all_groups()
        if any(
            (graph.is_out_channel_pruning_fn(dep.handler) and not dep.target.outputs)
            or _in_attention(dep.target)
            for dep, _ in group
        )
    ]
    groups: dict[nn.Module, int] = {}
    heads = {
        layer: layer.num_heads
        for layer in network.modules()
        if isinstance(layer, nn.MultiheadAttention)
    }
    torch_pruning.pruner.BasePruner(
        network,
        importance=_Kept(1 - width, groups),
        pruning_ratio=1 - width,
        ignored_layers=whole,
        num_heads=heads,
        in_channel_groups=groups,  # both are filled by the pruner
        out_channel_groups=groups,
        **given,
    ).step()


def _in_attention(node: Any) -> bool:
    """Whether channels of a node of Torch-Pruning's graph are divided into queries and heads."""
    name = node.grad_fn.name().lower()
    return any(part in name for part in ("bmm", "scaleddotproduct", "unbind"))


@dataclass(frozen=True)
class _Kept:
    """Says of channels that hang together which stay: 1 for those, 0 for the others."""

    removed: float
    groups: dict[nn.Module, int]
    """By layer, the number of groups of its channels that have to stay equally large."""

    def __call__(self, group: Any) -> Tensor | None:
        """(C,) of a group of Torch-Pruning; None: all stay."""
        parts = max(self.groups.get(dep.target.module, 1) for dep, _ in group)
        size = len(group[0].idxs) // parts
        kept = int(size * (1 - self.removed))  # as Torch-Pruning rounds
        if not kept:
            return None
        stays = torch.zeros(size)
        stays[evenly_spaced(torch.arange(size), (kept,))] = 1
        return stays.repeat(parts)
