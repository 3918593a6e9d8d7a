"""Features of each image: the spatial means of maps inside a network, side by side.

norms   the inputs of all layers that normalise by running statistics, in the order of the calls
stages  for each size of the maps, the last one that a convolution or linear layer reads, without
        the image itself: the ends of a residual network's stages (of the last stage an inner map)
        and the last layer's input

A network without such layers has only `stages`. Source: CMI (arXiv 2105.08584), whose authors' code
has `norms`, and for ResNet-34 the ends of its four stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from fastdfkd.core.fused_norm import FusedNorm
from fastdfkd.core.last_layer import CONVOLUTIONS, LINEAR
from fastdfkd.core.norm_calls import NormCalls, loose_buffers
from fastdfkd.core.norm_layers import normalising_layers
from fastdfkd.core.observed_calls import ObservedCalls

Kind = Literal["norms", "stages"]


class PooledFeatures(Protocol):
    """Collects the features of a forward pass."""

    def watching(self) -> AbstractContextManager[object]:
        """The context of one forward pass."""

    @property
    def seen(self) -> bool:
        """Whether the pass had any."""

    def taken(self) -> Tensor:
        """The features (B, D) of the pass, float32 or float64, which are then forgotten."""


def pooled_features(
    network: nn.Module, kind: Kind, forward: Callable[[], object]
) -> tuple[PooledFeatures, int]:
    """What collects features of a network, and their number D.

    Args:
        network: plain or with fused norms.
        kind: which features; `stages` if the network has no others.
        forward: runs the network on images.
    """
    found: list[PooledFeatures] = [NormInputs(network)] if kind == "norms" else []
    for features in (*found, StageEnds()):
        with torch.no_grad(), features.watching():
            forward()
        if features.seen:
            break
    return features, features.taken().shape[1]


class NormInputs:
    """Implements `PooledFeatures`: the inputs of normalising layers."""

    def __init__(self, network: nn.Module):
        layers = normalising_layers(network)
        fused = [module for module in network.modules() if isinstance(module, FusedNorm)]
        self.layers: list[nn.Module] = [*fused, *layers.values()]
        self.buffers = loose_buffers(network, layers)
        self._means: list[Tensor] = []

    @property
    def seen(self) -> bool:
        """See `PooledFeatures`."""
        return bool(self._means)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook the layers inside the block."""
        self._means = []
        handles = [layer.register_forward_pre_hook(self._on_input) for layer in self.layers]
        try:
            calls = NormCalls(self.buffers, lambda _, x, *__: self._means.append(pooled(x)))
            with calls if self.buffers else nullcontext():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def taken(self) -> Tensor:
        """See `PooledFeatures`."""
        means, self._means = self._means, []
        return torch.cat(means, 1)

    def _on_input(self, _layer: nn.Module, inputs: tuple[Tensor]) -> None:
        self._means.append(pooled(inputs[0]))


class StageEnds:
    """Implements `PooledFeatures`: the last map of each size."""

    def __init__(self) -> None:
        self._maps: dict[tuple[int, ...], Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Observe the layers' calls inside the block."""
        self._maps = {}
        with _Reads(self._on_read):
            yield

    @property
    def seen(self) -> bool:
        """See `PooledFeatures`."""
        return bool(self._maps)

    def taken(self) -> Tensor:
        """See `PooledFeatures`.

        Raises:
            ValueError: the network's layers cannot be observed.
        """
        if not self._maps:
            raise ValueError(
                "synthesis.cr is above 0, but no feature of the teacher can be seen: set "
                "synthesis.cr to 0, or give the Python network"
            )
        maps, self._maps = self._maps, {}
        return torch.cat(list(maps.values()), 1)

    def _on_read(self, x: Tensor, channels: int) -> None:
        axes = tuple(axis for axis in range(1, x.ndim) if axis != channels)
        size = tuple(x.shape[axis] for axis in axes)
        self._maps[size] = pooled(x.movedim(channels, 1))


class _Reads(ObservedCalls):
    """Reports what convolutions and linear layers read, from the second layer on."""

    def __init__(self, on_read: Callable[[Tensor, int], None]):
        super().__init__()
        self.on_read = on_read
        self.images: int | None = None
        """Images of the batch; None before the first layer."""

    def before(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Report the input of such a layer, with the axis of its channels."""
        if func not in LINEAR and func not in CONVOLUTIONS:
            return
        x = args[0] if args else kwargs["input"]
        if self.images is None:
            self.images = len(x)
        elif len(x) == self.images:  # else the first axis is not that of the images
            self.on_read(x, x.ndim - 1 if func in LINEAR else 1)


def pooled(x: Tensor) -> Tensor:
    """Means over all positions of maps (B, C, ...), (B, C) float32 or float64."""
    means: Tensor = x if x.ndim == 2 else _Means.apply(x)  # type: ignore[no-untyped-call]
    return means if means.dtype is torch.float64 else means.float()


class _Means(torch.autograd.Function):
    """Means over positions. A product with ones is four times as fast on a CPU as `Tensor.mean`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        positions = x.flatten(2)
        count = positions.shape[2]
        if x.device.type != "cpu":
            return positions.mean(2)
        ones = positions.new_ones(1, 1, count).expand(len(x), 1, count)
        with torch.autocast("cpu", enabled=False):
            return (ones @ positions.transpose(1, 2)).squeeze(1).div_(count)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        shape = ctx.shape
        share = gradient / math.prod(shape[2:])
        spread: Tensor = share.reshape(*shape[:2], *[1] * (len(shape) - 2)).expand(shape)
        return spread
