"""Finds the plain network inside wrappers, and refuses networks that cannot be used.

DataParallel, DistributedDataParallel and `torch.compile` wrappers are removed. Networks that are
fixed to one mode or pass no gradient are refused with the reason.
"""

from __future__ import annotations

import copyreg
import io
import warnings
from typing import Any

import torch
from torch import nn

from fastdfkd.core import torch_versions


def plain_network(network: object, what: str) -> nn.Module:
    """The network without its wrappers. Nothing is modified.

    Args:
        network: any object that a user gave or a builder returned.
        what: its name in messages.

    Raises:
        ValueError: the network cannot be used. The message says why and what to do.
    """
    while (inner := _inside(network)) is not None:
        network = inner
    if _is_exported(network):
        raise ValueError(
            f"{what}: expected a torch.nn.Module, got an exported program. An exported program "
            "runs only in the mode that it was exported in and does not show its layers: give the "
            "Python network that it was exported from, with its weights, or save the program with "
            "torch.export.save and name it as pt2:FILE"
        )
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{what}: expected a torch.nn.Module, got {type(network).__name__}"
            f"{' (a class: call it)' if isinstance(network, type) else ''}"
        )
    if names := [
        name for name, value in network.state_dict(keep_vars=True).items() if _is_meta(value)
    ]:
        raise ValueError(
            f"{what}: its tensors {', '.join(names[:3])} are on the meta device, which keeps no "
            "values: build the network on the CPU"
        )
    names = [name for name, module in network.named_modules() if _is_quantised(module)]
    if names:
        raise ValueError(
            f"{what}: its layers {', '.join(names[:3])} are quantised. Integer layers pass no "
            "gradient to images or weights: give the network from before the quantisation"
        )
    return network


def uncompiled(network: nn.Module) -> nn.Module:
    """Undo `module.compile()` in every module of the network; returns the network."""
    for module in network.modules():
        torch_versions.uncompile(module)
    return network


def _inside(network: Any) -> Any:
    """The network inside a wrapper; None if `network` is no wrapper."""
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return network.module
    return torch_versions.inside_of_compiled(network)


def _is_exported(network: Any) -> bool:
    if type(network).__module__ == "torch.export.exported_program":
        return True
    return isinstance(network, torch.fx.GraphModule) and any(
        isinstance(node.target, torch_versions.OperatorOverload) for node in network.graph.nodes
    )


def _is_meta(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


def _is_quantised(module: nn.Module) -> bool:
    home = type(module).__module__
    return ".quantized" in home and not home.startswith("torch.ao.nn.qat")


def parametrised_layers(network: nn.Module) -> list[str]:
    """Names of the layers that have parametrisations (`torch.nn.utils.parametrize`)."""
    parametrised = torch.nn.utils.parametrize.is_parametrized
    return [name for name, module in network.named_modules() if parametrised(module)]


def without_parametrisations(network: nn.Module) -> nn.Module:
    """Replace every parametrisation of a frozen network by its current value, in place.

    Parametrised layers cannot be pickled. A frozen layer does not need its parametrisation.
    """
    parametrize = torch.nn.utils.parametrize
    for module in network.modules():
        names: Any = getattr(module, "parametrizations", ())
        if parametrize.is_parametrized(module):
            for name in list(names):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return network


def _reduce_script(module: torch.jit.ScriptModule) -> tuple[Any, tuple[bytes, bool]]:
    content = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        torch.jit.save(module, content)
    return _load_script, (content.getvalue(), module.training)


def _load_script(content: bytes, training: bool) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(action="ignore"):
        module: Any = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]
    return module.train(training)  # type: ignore[no-any-return]


_scripts: Any = torch.jit
for _kind in (_scripts.RecursiveScriptModule, _scripts.TopLevelTracedModule):
    copyreg.pickle(_kind, _reduce_script)
