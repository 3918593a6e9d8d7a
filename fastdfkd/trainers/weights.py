"""States between processes: nested dicts with numpy arrays, which Ray's store does not copy.

Actors that only pass states on then need no torch: importing it takes seconds of a processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def packed(tree: Any) -> Any:
    """A state with a numpy copy in place of every tensor (bfloat16, which numpy lacks, stays)."""
    import torch

    if isinstance(tree, torch.Tensor):
        copy = tree.detach().to("cpu", copy=True)
        return copy if copy.dtype is torch.bfloat16 else copy.numpy()
    if isinstance(tree, Mapping):
        return {key: packed(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [packed(value) for value in tree]
    return tree


def unpacked(tree: Any) -> Any:
    """The state with tensors again; copies, because arrays from the store are read-only."""
    import torch

    if isinstance(tree, np.ndarray | np.generic):
        return torch.tensor(tree)
    if isinstance(tree, Mapping):
        return {key: unpacked(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [unpacked(value) for value in tree]
    return tree
