"""What a check of a network may not change: modes, state, gradient flags, hooks."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def snapshot(model: nn.Module) -> tuple[list[bool], dict[str, Tensor], list[bool]]:
    return (
        [module.training for module in model.modules()],
        copy.deepcopy(model.state_dict()),
        [p.requires_grad for p in model.parameters()],
    )


def assert_unchanged(
    model: nn.Module, before: tuple[list[bool], dict[str, Tensor], list[bool]]
) -> None:
    modes, state, gradients = snapshot(model)
    assert (modes, gradients) == (before[0], before[2])
    for name, value in state.items():
        torch.testing.assert_close(value, before[1][name], rtol=0, atol=0, equal_nan=True)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
