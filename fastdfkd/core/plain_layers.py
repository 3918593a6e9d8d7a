"""Networks in plain operations, which torch's compiler reads and fuses itself.

`core/fused_norm.py` and `core/frozen_logits.py` join layers by autograd nodes and oneDNN calls that
the compiler cannot look into. Here each of these layers is written as separate operations again.
The given network is not modified; the new one shares its tensors.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from fastdfkd.core.frozen_logits import FrozenConv2d
from fastdfkd.core.fused_norm import FusedNorm


class PlainNorm(nn.Module):
    """BatchNorm in eval mode, then ReLU if `relu`, in float32 or float64 inside."""

    def __init__(self, norm: FusedNorm, measured: bool):
        super().__init__()
        self.layer: Any = norm.layer
        self.relu, self.measured = norm.relu, measured

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Maps (B, C, ...) to the same shape; if measured, also gives the input's moments (C,)."""
        layer = self.layer
        exact = x if x.dtype is torch.float64 else x.float()
        scale = torch.rsqrt(layer.running_var + layer.eps)
        scale = scale if layer.weight is None else scale * layer.weight
        shift = -layer.running_mean * scale
        shift = shift if layer.bias is None else shift + layer.bias
        wide = (1, -1, *[1] * (x.ndim - 2))
        y: Tensor = exact * scale.reshape(wide) + shift.reshape(wide)
        y = (y.relu() if self.relu else y).to(x.dtype)
        if not self.measured:
            return y
        axes = [axis for axis in range(x.ndim) if axis != 1]
        var, mean = torch.var_mean(exact, axes, correction=0)
        return y, mean, var


def plain_form(network: nn.Module) -> nn.Module:
    """A network without joined layers; a network that has none is returned itself."""
    return _rewritten(network, measured=False) if has_joined_layers(network) else network


def has_joined_layers(network: nn.Module) -> bool:
    """Whether a network was made faster by joining layers."""
    return isinstance(network, fx.GraphModule) and any(
        isinstance(module, FusedNorm | FrozenConv2d) for module in network.modules()
    )


def measured_norms(network: nn.Module) -> list[str]:
    """The layers' names of all `FusedNorm`s of a network, in the order in which they run."""
    return [norm.name for _, norm in _norms(network)]


def with_moments(network: nn.Module) -> nn.Module:
    """`plain_form` that returns a tuple: what the network returns, then two tensors for each norm.

    They are mean and variance (C,) of the inputs of the norms, in the order of `measured_norms`.

    Args:
        network: with at least one `FusedNorm`.
    """
    return _rewritten(network, measured=True)


def _norms(network: nn.Module) -> list[tuple[fx.Node, FusedNorm]]:
    if not isinstance(network, fx.GraphModule):
        return []
    modules = dict(network.named_modules())
    found = [(node, modules.get(str(node.target))) for node in network.graph.nodes]
    return [(node, module) for node, module in found if isinstance(module, FusedNorm)]


def _rewritten(network: nn.Module, measured: bool) -> nn.Module:
    assert isinstance(network, fx.GraphModule)
    twin = fx.GraphModule(network, copy.deepcopy(network.graph))
    moments: list[fx.Node] = []
    for node, norm in _norms(twin):
        setattr(twin, str(node.target), PlainNorm(norm, measured))
        if measured:
            readers = list(node.users)
            with twin.graph.inserting_after(node):
                y, mean, var = (
                    twin.graph.call_function(operator.getitem, (node, place)) for place in range(3)
                )
            for reader in readers:
                reader.replace_input_with(node, y)
            moments += [mean, var]
    for name, module in list(twin.named_children()):
        if isinstance(module, FrozenConv2d):
            plain = copy.copy(module)
            plain.one_call, plain.packed = False, None
            setattr(twin, name, plain)
    if measured:
        (end,) = (node for node in twin.graph.nodes if node.op == "output")
        end.args = ((end.args[0], *moments),)
    twin.recompile()
    return twin.eval()
