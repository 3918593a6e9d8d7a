"""The plain network inside what people hand over, or why there is none.

DataParallel and `torch.compile` wrap a network that does all that they do; the wrapper is taken
off. What is fixed to one mode, or passes no gradient, is refused with the reason.
"""

from __future__ import annotations

import copyreg
import io
import warnings
from typing import Any

import torch
from torch import nn


def plain_network(network: object, what: str) -> nn.Module:
    """The network without wrappers. It is not altered.

    Args:
        network: what was given or built.
        what: names it in messages.

    Raises:
        ValueError: it is no network that can be used. The message says why and what to do.
    """
    while (inner := _inside(network)) is not None:
        network = inner
    if _is_exported(network):
        raise ValueError(
            f"{what}: an exported program runs in the one mode that it was exported in and does "
            "not show its layers: give the Python network that it was exported from, with its "
            "weights, or save the program with torch.export.save and name it as pt2:FILE"
        )
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{what}: expected a torch.nn.Module, got {type(network).__name__}"
            f"{' (a class: call it)' if isinstance(network, type) else ''}"
        )
    names = [name for name, module in network.named_modules() if _is_quantised(module)]
    if names:
        raise ValueError(
            f"{what}: its layers {', '.join(names[:3])} are quantised, and integers pass no "
            "gradient to images or weights: give the network as it was before it was quantised"
        )
    return network


def uncompiled(network: nn.Module) -> nn.Module:
    """The network itself, of which no part is compiled when it is called (`module.compile()`)."""
    for module in network.modules():
        module._compiled_call_impl = None
    return network


def _inside(network: Any) -> Any:
    """What a wrapper wraps; None where it is none."""
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return network.module
    if type(network).__name__ == "OptimizedModule":  # its own module imports the whole compiler
        return getattr(network, "_orig_mod", None)
    return None


def _is_exported(network: Any) -> bool:
    if type(network).__module__ == "torch.export.exported_program":
        return True
    return isinstance(network, torch.fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in network.graph.nodes
    )


def _is_quantised(module: nn.Module) -> bool:
    home = type(module).__module__
    return ".quantized" in home and not home.startswith("torch.ao.nn.qat")


def parametrised_layers(network: nn.Module) -> list[str]:
    """Names of layers with parametrisations (`torch.nn.utils.parametrize`)."""
    parametrised = torch.nn.utils.parametrize.is_parametrized
    return [name for name, module in network.named_modules() if parametrised(module)]


def baked(network: nn.Module) -> nn.Module:
    """A frozen network with every parametrisation replaced by the tensor that it gives, in place.

    A parametrised layer cannot be sent to another process; a frozen one needs no parametrisation.
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
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated, and works
        torch.jit.save(module, content)
    return _load_script, (content.getvalue(), module.training)


def _load_script(content: bytes, training: bool) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(action="ignore"):
        module: Any = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]
    return module.train(training)  # type: ignore[no-any-return]


_scripts: Any = torch.jit
for _kind in (_scripts.RecursiveScriptModule, _scripts.TopLevelTracedModule):
    copyreg.pickle(_kind, _reduce_script)
