"""Observes calls of torch's batch norm with a network's own buffers.

Some networks call `F.batch_norm` themselves, exported graphs call an operator, and TorchScript
programs run without Python. Their inputs are not the input of a module, so that a hook does not see
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.observed_calls import ObservedCalls

OnCall = Callable[[str, Tensor, "Statistics", bool], None]
"""Takes a name, the input (B, C, ...), the statistics, and whether they are of single images."""


class Statistics(NamedTuple):
    """Running statistics, each (C,)."""

    running_mean: Tensor
    running_var: Tensor


class _Form(NamedTuple):
    """Where a function takes its statistics, and the flag that says not to use them."""

    mean: int
    flag: int | None
    flag_name: str = "training"
    per_image: bool = False


_ATEN = torch.ops.aten
_FORMS: Mapping[Any, _Form] = {
    F.batch_norm: _Form(1, 5),
    torch.batch_norm: _Form(3, 5),
    _ATEN.batch_norm.default: _Form(3, 5),
    _ATEN.native_batch_norm.default: _Form(3, 5),
    _ATEN.cudnn_batch_norm.default: _Form(3, 5),
    torch_versions.operator("_native_batch_norm_legit_no_training"): _Form(3, None),
    F.instance_norm: _Form(1, 5, "use_input_stats", per_image=True),
    torch.instance_norm: _Form(3, 5, "use_input_stats", per_image=True),
    _ATEN.instance_norm.default: _Form(3, 5, "use_input_stats", per_image=True),
}


class NormCalls(ObservedCalls):
    """A context that reports each normalisation by one of the given buffers to `on_call`."""

    def __init__(self, buffers: Mapping[str, Tensor], on_call: OnCall):
        super().__init__()
        self.names = {id(tensor): name for name, tensor in buffers.items()}
        self.on_call = on_call

    def before(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Report the call if it normalises by the buffers."""
        form = _FORMS.get(func)
        if form is not None:
            self._report(form, args, kwargs)

    def _report(self, form: _Form, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        def argument(place: int, name: str, default: Any) -> Any:
            return args[place] if place < len(args) else kwargs.get(name, default)

        mean = argument(form.mean, "running_mean", None)
        var = argument(form.mean + 1, "running_var", None)
        default = form.per_image  # `use_input_stats` is true unless given
        if form.flag is not None and argument(form.flag, form.flag_name, default):
            return
        name = self.names.get(id(mean))
        if name is not None and id(var) in self.names:
            x = argument(0, "input", None)
            self.on_call(name, x, Statistics(mean, var), form.per_image)


class ScriptNormCalls:
    """Reports the same calls inside TorchScript programs, which no hook and no other mode sees.

    Below autograd an input has its graph, but what is computed from it has none. Inputs are
    therefore kept during the program's forward and reported after it.
    """

    def __init__(self, model: nn.Module, buffers: Mapping[str, Tensor], on_call: OnCall):
        self.scripts = outermost_scripts(model)
        own = {buffer.data_ptr() for script in self.scripts for buffer in script.buffers()}
        self.buffers = {n: buffer for n, buffer in buffers.items() if buffer.data_ptr() in own}
        """Those of the given buffers that belong to programs."""
        self.names = {buffer.data_ptr(): name for name, buffer in self.buffers.items()}
        self.on_call = on_call
        self.running = False

    def attach(self) -> list[Any]:
        """Observe each program's forward; returns handles whose `remove()` ends that."""
        handles: list[Any] = []
        self.running = False
        for script in self.scripts:
            calls = _DispatchedNorms(self.names)
            # Programs refuse these methods, but their hooks run where Python calls them.
            handles.append(nn.Module.register_forward_pre_hook(script, self._begin(calls)))
            end = self._end(calls)
            handles.append(nn.Module.register_forward_hook(script, end, always_call=True))
        return handles

    def _begin(self, calls: _DispatchedNorms) -> Callable[..., None]:
        def begin(*_: Any) -> None:
            self.running = True
            calls.seen.clear()
            calls.__enter__()  # type: ignore[no-untyped-call]

        return begin

    def _end(self, calls: _DispatchedNorms) -> Callable[..., None]:
        def end(*_: Any) -> None:
            if not self.running:  # torch calls it again if `on_call` raises
                return
            self.running = False
            calls.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            seen, calls.seen = calls.seen, []
            for name, x, statistics in seen:
                channels = len(statistics.running_mean)
                per_image = x.shape[1] != channels
                x = x.reshape(-1, channels, *x.shape[2:]) if per_image else x
                self.on_call(name, x, statistics, per_image)

        return end


class _DispatchedNorms(torch_versions.DispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the inputs of batch norms with running statistics at one of the given addresses.

    An instance norm of B images with running statistics is a batch norm of one image with B times
    as many channels, by statistics that are repeated B times. Its input is (1, B * C, ...).
    """

    def __init__(self, names: Mapping[int, str]):
        super().__init__()
        self.names = names
        self.seen: list[tuple[str, Tensor, Statistics]] = []
        self._repeated: dict[int, Tensor] = {}
        """What was repeated, by the id of the result; both live until the norm has read them."""
        self._results: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Keep the input if the operator normalises by running statistics, then call it."""
        form = _FORMS.get(func)
        if form is not None and not (form.flag is not None and args[form.flag]):
            mean, var = (self._repeated.get(id(x), x) for x in args[form.mean : form.mean + 2])
            name = self.names.get(mean.data_ptr()) if isinstance(mean, Tensor) else None
            if name is not None:
                self.seen.append((name, args[0], Statistics(mean, var)))
            self._forget()
        result = func(*args, **(kwargs or {}))
        if func is _ATEN.repeat.default and args[0].data_ptr() in self.names:
            self._repeated[id(result)] = args[0]
            self._results.append(result)
        return result

    def _forget(self) -> None:
        self._repeated.clear()
        self._results.clear()


def outermost_scripts(model: nn.Module) -> list[nn.Module]:
    """The TorchScript programs of a model that are not part of another one."""
    if isinstance(model, torch.jit.ScriptModule):
        return [model]
    return [script for child in model.children() for script in outermost_scripts(child)]


def loose_buffers(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Buffers of a model that may be statistics and belong to none of `layers`, by name."""
    owned = {id(buffer) for layer in layers.values() for buffer in layer.buffers()}
    return {
        name: buffer
        for name, buffer in model.named_buffers()
        if buffer.ndim == 1 and buffer.is_floating_point() and id(buffer) not in owned
    }
