"""Fuses BatchNorm and ReLU of a frozen network into one autograd node.

In eval mode BatchNorm is y = a * x + b per channel. The gradients of the batch's mean and variance
are affine in x per channel as well. So one node computes everything:

    forward   moments of x (one pass over x), y = relu(a * x + b) in place
    backward  dx = a * dy * [y > 0]  +  slope * x + offset        (slope, offset: from the moments)

`fused` finds the layers by tracing the network (torch.fx). A ReLU is fused with its BatchNorm only
if it is the only reader of the BatchNorm's output. The given network is not modified; the fused
one shares its tensors. A network that cannot be traced is used unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.channel_moments import Moments, moments, moments_gradient, normalised
from fastdfkd.core.norm_layers import kind_of, normalising_layers

Recorder = Callable[[str, Moments], None]
_RELUS: tuple[Any, ...] = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")


class FusedNorm(nn.Module):
    """BatchNorm in eval mode, then ReLU if `relu`; passes its input's moments to `recorder`."""

    def __init__(self, name: str, layer: nn.Module, relu: bool):
        super().__init__()
        self.name, self.layer, self.relu = name, layer, relu
        self.recorder: Recorder | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, ...) to the same shape."""
        recorded = self.recorder is not None
        y: Tensor
        y, mean, var = _Fused.apply(x, self.layer, self.relu, recorded)  # type: ignore[no-untyped-call]
        if self.recorder is not None:
            self.recorder(self.name, (mean, var))
        return y


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layer: Any, relu: bool, recorded: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        mean, var = moments(x) if recorded else (None, None)
        statistics = layer.running_mean, layer.running_var
        y = normalised(x, statistics, layer.weight, layer.bias, layer.eps)
        if relu:
            y.relu_()
        ctx.layer = layer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x if recorded else None, mean, y if relu else None)
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        upper, grad_mean, grad_var = gradients
        x, mean, y = ctx.saved_tensors
        lower = None
        if grad_mean is not None or grad_var is not None:
            lower = moments_gradient(x, mean, grad_mean, grad_var)
        if upper is None:
            return lower, None, None, None
        if y is not None:
            upper = torch.ops.aten.threshold_backward(upper, y, 0)
        scale = _scale(ctx.layer).to(upper.dtype).reshape(1, -1, *[1] * (upper.ndim - 2))
        if lower is not None:
            return lower.addcmul_(upper, scale), None, None, None
        return (upper * scale if y is None else upper.mul_(scale)), None, None, None


def _scale(layer: Any) -> Tensor:
    inverse: Tensor = torch.rsqrt(layer.running_var + layer.eps)
    return inverse if layer.weight is None else inverse * layer.weight


def fused(network: nn.Module) -> nn.Module:
    """`network` with its BatchNorms fused, or itself if it has none or cannot be traced.

    Args:
        network: in eval mode and without gradients for its parameters, now and whenever the fused
            network runs. A network with hooks is returned unchanged, because the fused one would
            not call those on BatchNorm and ReLU modules.
    """
    if not has_norms(network):
        return network
    try:
        graph = traced(network)
    except UntraceableError:
        return network
    return fuse_norms(graph).eval()


def has_norms(network: nn.Module) -> bool:
    """Whether the network has a BatchNorm that can be fused."""
    return any(kind_of(module) in ("norm", "norm_relu") for module in network.modules())


class UntraceableError(ValueError):
    """A network cannot be traced to a graph of torch's layers. The message says why."""


def traced(network: nn.Module) -> fx.GraphModule:
    """`network` as a graph of torch's layers, which it shares.

    Raises:
        UntraceableError: it has hooks, is a TorchScript module, or its forward depends on values.
    """
    if isinstance(network, torch.jit.ScriptModule):
        raise UntraceableError("TorchScript cannot be traced")
    if any(torch_versions.has_hooks(module) for module in network.modules()):
        raise UntraceableError("it has hooks, which a traced network would not call")
    try:
        graph = _Tracer(network).trace(network)
    except Exception as error:  # a user's forward may raise anything when traced
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UntraceableError(f"it cannot be traced: {reason}") from error
    return fx.GraphModule(network, graph)


def fuse_norms(traced: fx.GraphModule) -> fx.GraphModule:
    """Replace every BatchNorm, with the ReLU that is its only reader, by a `FusedNorm`."""
    graph, modules = traced.graph, dict(traced.named_modules())
    for node in list(graph.nodes):
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        kind = None if layer is None else kind_of(layer)
        if layer is None or kind not in ("norm", "norm_relu"):
            continue
        relu = only_reader(node) if kind == "norm" else None
        joined = kind == "norm_relu" or (relu is not None and is_relu(relu, modules))
        if relu is not None and joined:
            replace(relu, node)
        name = str(node.target)
        node.target = "fused_" + name.replace(".", "_")
        traced.add_module(node.target, FusedNorm(name, layer, joined))
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


@contextmanager
def recording(network: nn.Module, recorder: Recorder | None) -> Iterator[None]:
    """Inside the block every `FusedNorm` of `network` passes its input's moments to `recorder`.

    With None it computes no moments.
    """
    norms = [module for module in network.modules() if isinstance(module, FusedNorm)]
    before = [norm.recorder for norm in norms]
    for norm in norms:
        norm.recorder = recorder
    try:
        yield
    finally:
        for norm, last in zip(norms, before, strict=True):
            norm.recorder = last


class _Tracer(fx.Tracer):
    """Does not trace into normalising layers and torch's layers.

    The former are found before the trace, in which no layer can be tried.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.layers = set(normalising_layers(network).values())

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return module in self.layers or super().is_leaf_module(module, qualified_name)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation by running statistics and nothing more."""
    return kind_of(module) == "norm"


def is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node is a ReLU module, function or method."""
    if node.op == "call_module":
        return type(modules[str(node.target)]) is nn.ReLU
    return node.op in ("call_function", "call_method") and node.target in _RELUS


def only_reader(node: fx.Node) -> fx.Node | None:
    """The node that reads `node`; None if there is none or more than one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def replace(node: fx.Node, by: fx.Node) -> None:
    """Make all readers of `node` read `by`, and remove `node`."""
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)
