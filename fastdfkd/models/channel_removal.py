"""Removes channels of a network with Torch-Pruning, which follows one forward pass.

Torch-Pruning finds groups of tensors that share their channels by walking over the graph of
autograd (DepGraph, Fang et al., arXiv 2301.12900). In some graphs its walk goes in circles with
ever more channels. `_Walk` ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.even_spacing import evenly_spaced
from fastdfkd.core.network_contract import in_mode

_MOST_WALKS = 3
"""Times that the edges of a graph may be walked for one group, on average.

Measured: at most 1.0 for networks of seven families of torchvision; 192 for a network of 1,194
parameters with attention by `einsum`, whose walk took half a minute."""


def remove_channels(
    network: nn.Module,
    width: float,
    images: Tensor,
    tensors: Callable[[object], list[Tensor]],
) -> None:
    """Keep a share of the channels of every layer, in place; see `thinning.thin`.

    Args:
        network: in eval mode, with gradients for all parameters.
        width: share of the channels, above 0 and below 1.
        images: (B, C, H, W) for the forward pass.
        tensors: all tensors of an answer of the network.

    Raises:
        Exception: any, if the network cannot be followed.
    """
    import torch_pruning

    def followed(answer: object) -> list[Tensor]:
        return [tensor for tensor in tensors(answer) if tensor.grad_fn is not None]

    given = {"example_inputs": (images,), "output_transform": followed}
    if _layers_of_training(network, images):
        given |= {"example_inputs": (images.expand(2, -1, -1, -1),), "forward_fn": _in_train_mode}
    graph = torch_pruning.DependencyGraph().build_dependency(network, verbose=False, **given)
    walk = _Walk(graph)
    whole = [
        group[0].dep.target.module
        for group in walk.groups()
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


def _layers_of_training(network: nn.Module, images: Tensor) -> list[nn.Module]:
    """Layers that run in train mode alone, such as auxiliary heads."""
    layers = [each for each in network.modules() if any(True for _ in each.parameters(False))]
    ran: list[set[nn.Module]] = []
    hooks = [each.register_forward_hook(lambda layer, *_: ran[-1].add(layer)) for each in layers]
    try:
        with torch.no_grad():
            for training in (False, True):
                ran.append(set())
                with in_mode(network, training=training):
                    network(images.expand(2, -1, -1, -1))
    except Exception:  # in train mode, the network's own code may raise anything
        return []
    finally:
        for hook in hooks:
            hook.remove()
    return [layer for layer in layers if layer in ran[1] - ran[0]]


def _in_train_mode(network: nn.Module, inputs: tuple[Tensor]) -> object:
    with in_mode(network, training=True):
        return network(*inputs)


class _Walk:
    """Torch-Pruning's walk over a graph, which is ended if it goes in circles."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        edges = [edge for node in graph.module2node.values() for edge in node.dependencies]
        longest = max((max(each.shape, default=1) for each in graph.model.parameters()), default=1)
        self._most = _MOST_WALKS * len(edges), _MOST_WALKS * len(edges) * longest
        self._steps, self._channels = 0, 0
        for edge in edges:
            edge.index_mapping = _Mappings(edge.index_mapping, self._count)

    def groups(self) -> Iterator[Any]:
        """All groups of tensors that share their channels."""
        for group in self._graph.get_all_groups():
            self._steps, self._channels = 0, 0
            yield group

    def _count(self, channels: int) -> None:
        self._steps += 1
        self._channels += channels
        if self._steps > self._most[0] or self._channels > self._most[1]:
            raise ValueError(
                "the search for layers that share channels goes in circles, as it does where maps "
                "are shifted, cut or multiplied by each other"
            )


class _Mappings(list[Any]):
    """The index mappings of an edge, which say how often they are used."""

    def __init__(self, mappings: list[Any], used: Callable[[int], None]) -> None:
        super().__init__(mappings)
        self._used = used

    def __iter__(self) -> Iterator[Any]:
        return iter([self._mapped])

    def _mapped(self, channels: list[Any]) -> list[Any]:
        for mapping in super().__iter__():
            if mapping is not None:
                channels = mapping(channels)
        self._used(len(channels))
        return channels


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
