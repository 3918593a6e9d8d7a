"""Networks of fastdfkd are tried for speed once for each state, not once for each experiment.

A trial (`core/network_trial.py`) runs a network about ten times, which is much of what a tiny run
costs. Its answer depends on the network and on its arguments alone. `tests/core/` tests the trial
itself, which no test there gets from here.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

USERS = (
    "fastdfkd.experiment.parts",
    "fastdfkd.experiment.judges",
    "fastdfkd.trainers.teacher_training",
)
"""Modules that try networks for a run."""
NAME = "find_network_use"

_found: dict[str, Any] = {}


def remember_in(patch: pytest.MonkeyPatch) -> None:
    """Replace the trial in those modules that are imported by now."""
    for name in USERS:
        trial = getattr(sys.modules.get(name), NAME, None)
        if trial is not None and not hasattr(trial, "__wrapped__"):
            patch.setattr(f"{name}.{NAME}", remembered(trial))


def remembered(trial: Callable[..., Any]) -> Callable[..., Any]:
    """A trial that is made once for a network of known parts, its state and the arguments."""

    @functools.wraps(trial)
    def again(network: nn.Module, *arguments: Any, **options: Any) -> Any:
        if any(is_unknown(module) for module in network.modules()):
            return trial(network, *arguments, **options)
        key = f"{state_of(network)} {arguments} {sorted(options.items())}"
        if key not in _found:
            _found[key] = trial(network, *arguments, **options)
        return _found[key]

    return again


def is_unknown(module: nn.Module) -> bool:
    """Whether a module computes something that its class and its attributes do not tell."""
    own = type(module).__module__
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    known = own.startswith(("torch.nn.modules.", "fastdfkd.models."))
    return not known or bool(hooks) or any(callable(v) for v in vars(module).values())


def state_of(network: nn.Module) -> str:
    """A digest of the parts of a network, their settings, their weights and buffers."""
    digest = hashlib.sha256()
    for line in lines_of(network):
        digest.update(line.encode())
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        kind = f"{value.shape} {value.dtype} {value.device} {value.requires_grad}"
        digest.update(f"{name} {kind}".encode())
        digest.update(value.detach().cpu().double().numpy().tobytes())
    return digest.hexdigest()


def lines_of(network: nn.Module) -> Iterator[str]:
    for name, module in network.named_modules():
        settings = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, bool | int | float | str | tuple | list | None)
        }
        yield f"{name} {type(module).__module__}.{type(module).__qualname__} {settings}\n"
