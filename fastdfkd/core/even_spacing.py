"""Evenly spaced elements of a tensor: which channels of a teacher a thinner student gets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def evenly_spaced(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Elements of `values` at `shape[d]` evenly spaced places of each dimension d.

    First and last place are among them; of a dimension that becomes 1, the first alone.

    Args:
        values: as many dimensions as `shape`, each at least as large.
        shape: of the result.
    """
    for dimension, size in enumerate(shape):
        if values.shape[dimension] != size:
            places = torch.linspace(0, values.shape[dimension] - 1, size, device=values.device)
            values = values.index_select(dimension, places.round().long())
    return values
