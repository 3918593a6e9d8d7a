"""Makes a frozen network faster if only its logits are needed: no gradients, no statistics.

    folding    a BatchNorm that is the only reader of a convolution goes into its weights and bias
    joining    a ReLU or residual addition that is the only reader goes into the same kernel call
    casting    weights are stored once in the type and layout that the kernel needs

`for_logits` finds these places by tracing (torch.fx). BatchNorms that remain (those before a
convolution) are fused with their ReLU. The given network is not modified; later changes of its
weights have no effect on the result. A network that cannot be traced is used unchanged.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.fused_norm import (
    UntraceableError,
    fuse_norms,
    has_norms,
    is_norm,
    is_relu,
    only_reader,
    replace,
    traced,
)

_ADDITIONS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add)


class FrozenConv2d(nn.Module):
    """relu(conv(x) + other); the addition and the ReLU are optional.

    On the CPU this is one oneDNN call, if torch offers it for the type (torch.compile uses the same
    call). On other devices and for other types it is torch's convolution, addition and ReLU.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.kernel = tuple(weight.shape[2:])
        assert not isinstance(layer.padding, str)
        self.geometry = (layer.padding, layer.stride, layer.dilation, layer.groups)
        self.relu = False
        self.packed: Tensor | None = None
        self.one_call = torch_versions.has_frozen_convolution(weight)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        x = x.to(self.weight.dtype)
        padding, stride, dilation, groups = self.geometry
        if not self.one_call or not (other is None or other.shape == self._shape(x)):
            y = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
            y = y if other is None else y + other
            return F.relu(y) if self.relu else y
        if self.packed is None:
            self.packed = torch_versions.packed_weight(self.weight, self.geometry, x.shape)
        other = None if other is None else other.to(x.dtype)
        return torch_versions.frozen_convolution(
            x, self.packed, self.bias, self.geometry, other, self.relu
        )

    def _shape(self, x: Tensor) -> tuple[int, ...]:
        """Shape of the result. The kernel adds `other` only if it has this shape."""
        padding, stride, dilation, _ = self.geometry
        sides = zip(x.shape[2:], self.kernel, padding, stride, dilation, strict=True)
        return (
            len(x),
            len(self.weight),
            *((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, p, s, d in sides),
        )


def for_logits(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """An inference-only copy of `network`, or `network` itself if it cannot be traced.

    Args:
        network: frozen, in eval mode, on its device and in its memory layout.
        dtype: type of autocast, in which the convolutions run.
    """
    try:
        return folded(network, dtype)
    except UntraceableError:
        return network


def foldable(network: nn.Module) -> bool:
    """Whether the network has a layer that `folded` would change."""
    return has_norms(network) or any(type(module) is nn.Conv2d for module in network.modules())


def folded(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """`for_logits` for a network that can be traced.

    Raises:
        UntraceableError: the network cannot be traced.
    """
    graph = traced(network)
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if type(layer) is not nn.Conv2d or not _plain(layer):
            continue
        convolution = _folded(node, layer, modules, dtype)
        _join(node, convolution, modules)
        node.target = f"frozen_{node.name}"
        graph.add_module(node.target, convolution)
    return fuse_norms(graph).eval()


def _plain(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _folded(
    node: fx.Node, layer: nn.Conv2d, modules: dict[str, nn.Module], dtype: torch.dtype
) -> FrozenConv2d:
    """The convolution with a BatchNorm folded in if that is its only reader."""
    weight, bias = layer.weight.detach(), layer.bias
    held = weight.dtype if weight.dtype is torch.float64 else dtype
    reader = only_reader(node)
    norm: Any = modules.get(str(reader.target)) if reader and reader.op == "call_module" else None
    if reader is not None and norm is not None and is_norm(norm):
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean
        bias = shift * scale + (0 if norm.bias is None else norm.bias.double())
        weight = weight.double() * scale.reshape(-1, 1, 1, 1)
        replace(reader, node)
    weight = weight.to(held).contiguous(memory_format=torch.channels_last)
    return FrozenConv2d(layer, weight, None if bias is None else bias.detach().to(held))


def _join(node: fx.Node, convolution: FrozenConv2d, modules: dict[str, nn.Module]) -> None:
    """Move an addition and a ReLU into the convolution if they are its only readers.

    The addition must be the next node: a node in between could change the other operand in place.
    """
    reader = only_reader(node)
    if reader is not None and reader is node.next and _adds_alike(reader, node):
        (other,) = (operand for operand in reader.args if operand is not node)
        node.args = (*node.args, other)
        replace(reader, node)
        reader = only_reader(node)
    if reader is not None and is_relu(reader, modules):
        convolution.relu = True
        replace(reader, node)


def _adds_alike(addition: fx.Node, node: fx.Node) -> bool:
    """Whether it adds two different nodes and, if in place, adds into `node`."""
    if addition.op != "call_function" or addition.target not in _ADDITIONS or addition.kwargs:
        return False
    operands = addition.args
    if len(operands) != 2 or not all(isinstance(operand, fx.Node) for operand in operands):
        return False
    return operands[0] is not operands[1] and (
        addition.target is not operator.iadd or operands[0] is node
    )
