"""Adam and SGD with torch's fused kernels, called through torch's functional forms.

The first step of a `torch.optim.Optimizer` imports torch's compiler, about 5 s in every new
process. The functional forms do the same arithmetic without that import.

On the CPU, fused kernels read a parameter, its gradient and its moments as flat memory and ignore
strides. A channels-last parameter with a row-major gradient is updated in the wrong places, without
an error. Moments here have the layout of their parameter; `with_layout_of` converts others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from fastdfkd.core import torch_versions


def with_layout_of(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A copy of `tensor` with the device and memory layout of `parameter` (same shape)."""
    return torch.empty_like(parameter).copy_(tensor)


class _Optimizer:
    def __init__(self, parameters: Iterable[Tensor], lr: float):
        self.parameters = list(parameters)
        self.lr: float | Tensor = lr
        """Learning rate; a float32 tensor on the parameters' device if a captured step reads it."""

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next step; a tensor is filled in place."""
        if isinstance(self.lr, Tensor):
            self.lr.fill_(lr)
        else:
            self.lr = lr

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for parameter in self.parameters:
            parameter.grad = None


class Adam(_Optimizer):
    """`torch.optim.Adam(parameters, lr, betas, fused=True)`, bit for bit."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float]):
        super().__init__(parameters, lr)
        self.betas = betas
        self.first, self.second = _zeros(self.parameters), _zeros(self.parameters)
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        parameters, first, second, steps = _with_gradient(
            self.parameters, self.first, self.second, self.steps
        )
        adam(
            parameters,
            _gradients(parameters),
            first,
            second,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Both moments and the number of steps of each parameter, in order."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; its tensors may have any memory layout."""
        for name, ours in self.state_dict().items():
            _fill(ours, state[name])

    def forget(self) -> None:
        """Reset moments and step numbers to zero."""
        for tensors in self.state_dict().values():
            torch_versions.foreach_zero_(tensors)


class SGD(_Optimizer):
    """`torch.optim.SGD(parameters, lr, momentum, ..., fused=True)`, bit for bit."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
    ):
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        self.moments = _zeros(self.parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        parameters, moments = _with_gradient(self.parameters, self.moments)
        sgd(
            parameters,
            _gradients(parameters),
            list[Tensor | None](moments),
            fused=True,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr,  # type: ignore[arg-type]  # a tensor too, though sgd's signature hides it
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Momentum of each parameter, in order."""
        return {"moments": self.moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; its tensors may have any memory layout."""
        _fill(self.moments, state["moments"])


def _zeros(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]


def _with_gradient(parameters: Sequence[Tensor], *states: Sequence[Tensor]) -> list[list[Tensor]]:
    """The parameters that have a gradient, and their states."""
    rows = zip(parameters, *states, strict=True)
    columns = list(zip(*(row for row in rows if row[0].grad is not None), strict=True))
    return [list(column) for column in columns] or [[] for _ in range(1 + len(states))]


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _fill(ours: Iterable[Tensor], tensors: Iterable[Tensor]) -> None:
    """Copy in place, because a captured step reads these tensors by address."""
    for mine, other in zip(ours, tensors, strict=True):
        mine.copy_(other)
