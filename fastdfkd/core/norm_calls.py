"""Observes calls of torch's batch norm with a network's own buffers.

Some networks call `F.batch_norm` themselves, and exported graphs call an operator. Their inputs are
not the input of a module, so that a hook does not see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    _ATEN._native_batch_norm_legit_no_training.default: _Form(3, None),
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


def loose_buffers(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Buffers of a model that may be statistics and belong to none of `layers`, by name."""
    owned = {id(buffer) for layer in layers.values() for buffer in layer.buffers()}
    return {
        name: buffer
        for name, buffer in model.named_buffers()
        if buffer.ndim == 1 and buffer.is_floating_point() and id(buffer) not in owned
    }
