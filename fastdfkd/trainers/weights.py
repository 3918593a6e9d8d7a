"""Weights between processes: state dicts as numpy arrays, which Ray's store does not copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def to_arrays(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state dict as numpy arrays that share nothing with the model.

    bfloat16, which numpy lacks, stays a tensor.
    """
    import torch

    return {
        name: copy if copy.dtype is torch.bfloat16 else copy.numpy()
        for name, tensor in state.items()
        for copy in [tensor.detach().to("cpu", copy=True)]
    }


def to_tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict again; copies, because arrays from the store are read-only."""
    import torch

    return {
        name: array if isinstance(array, torch.Tensor) else torch.tensor(array)
        for name, array in arrays.items()
    }


def to_cpu(tree: Any) -> Any:
    """A nested state with every tensor on the CPU, for a journey between processes."""
    import torch

    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu()
    if isinstance(tree, Mapping):
        return {key: to_cpu(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_cpu(value) for value in tree]
    return tree
