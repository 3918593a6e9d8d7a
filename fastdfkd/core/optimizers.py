"""Adam and SGD by torch's fused kernels, as torch's functional forms offer them.

The first step of a `torch.optim.Optimizer` imports torch's compiler, which costs every process that
is started for a role some five seconds. The functional forms do the same arithmetic without it.

Fused kernels on the CPU walk a parameter, its gradient and its moments as flat memory and ignore
strides, so a channels-last parameter with a row-major gradient is silently updated in the wrong
places. Moments have their parameter's layout here; `like` brings anything else into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """`tensor` with the device and memory layout of `parameter`, whose shape it has."""
    return torch.empty_like(parameter).copy_(tensor)


class _Optimizer:
    def __init__(self, parameters: Iterable[Tensor], lr: float):
        self.parameters = list(parameters)
        self.lr: float | Tensor = lr
        """A tensor (float32, on the parameters' device) where a captured step has to read it."""

    def set_lr(self, lr: float) -> None:
        """The learning rate of the next step; a tensor is filled, not replaced."""
        if isinstance(self.lr, Tensor):
            self.lr.fill_(lr)
        else:
            self.lr = lr

    def zero_grad(self) -> None:
        """Take the gradients away."""
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
        """Move the parameters that have a gradient."""
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
        """Moments and number of steps of each parameter, in order."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`, whatever layout its tensors come in."""
        for name, ours in self.state_dict().items():
            _fill(ours, state[name])

    def forget(self) -> None:
        """Back to the state before the first step."""
        for tensors in self.state_dict().values():
            torch._foreach_zero_(tensors)


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
        """Move the parameters that have a gradient."""
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
        """Go on from `state_dict()`, whatever layout its tensors come in."""
        _fill(self.moments, state["moments"])


def _zeros(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]


def _with_gradient(parameters: Sequence[Tensor], *states: Sequence[Tensor]) -> list[list[Tensor]]:
    """Those parameters, and their states."""
    rows = zip(parameters, *states, strict=True)
    columns = list(zip(*(row for row in rows if row[0].grad is not None), strict=True))
    return [list(column) for column in columns] or [[] for _ in range(1 + len(states))]


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _fill(ours: Iterable[Tensor], tensors: Iterable[Tensor]) -> None:
    """In place: a captured step reads a state where it lies."""
    for mine, other in zip(ours, tensors, strict=True):
        mine.copy_(other)
