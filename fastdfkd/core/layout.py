"""Memory layouts that torch's fused CPU optimisers rely on.

They walk a parameter, its gradient and its moments as flat memory and ignore strides, so a
channels-last parameter with a row-major gradient is silently updated in the wrong places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """`tensor` with the device and memory layout of `parameter`, whose shape it has."""
    return torch.empty_like(parameter).copy_(tensor)


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """`optimizer.load_state_dict(state)`, whatever layout the state's tensors come in."""
    optimizer.load_state_dict(dict(state))
    with torch.no_grad():
        for parameter, values in optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[name] = like(value, parameter)
