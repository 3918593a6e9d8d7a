"""Converts nested states to numpy arrays for transfer, and back to tensors.

Ray's object store reads numpy arrays without a copy. Actors that only pass states on do not need to
import torch, which takes seconds of CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def to_arrays(tree: Any) -> Any:
    """A state with each tensor copied to a numpy array.

    A bfloat16 tensor, a type that numpy lacks, is copied to a CPU tensor.
    """
    import torch

    if isinstance(tree, torch.Tensor):
        copy = tree.detach().to("cpu", copy=True)
        return copy if copy.dtype is torch.bfloat16 else copy.numpy()
    if isinstance(tree, Mapping):
        return {key: to_arrays(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_arrays(value) for value in tree]
    return tree


def to_tensors(tree: Any) -> Any:
    """A state with each array copied to a tensor; arrays from the object store are read-only."""
    import torch

    if isinstance(tree, np.ndarray | np.generic):
        return torch.tensor(tree)
    if isinstance(tree, Mapping):
        return {key: to_tensors(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_tensors(value) for value in tree]
    return tree
