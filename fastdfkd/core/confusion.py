"""Confusion matrices: how many images, or pixels, have each pair of classes."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_CLASSES = 2000
"""No matrix is made of more classes. One of 2,000 classes takes 32 MB."""

_CHUNK = 2**20


def confusion(
    rows: Tensor, columns: Tensor, num_classes: int, void: int | None = None
) -> Tensor | None:
    """How many elements have class [row] in `rows` and class [column] in `columns`.

    Args:
        rows: integers of any shape, 0..K-1 or `void`.
        columns: integers 0..K-1 of the same shape.
        num_classes: K.
        void: elements with this value in `rows` are left out.

    Returns:
        (K, K) int64 on the CPU; None for more than `MOST_CLASSES`.
    """
    if num_classes > MOST_CLASSES:
        return None
    found = torch.zeros(num_classes**2, dtype=torch.int64)
    parts = (torch.split(each.flatten(), _CHUNK) for each in (rows, columns))
    for row, column in zip(*parts, strict=True):
        pairs = row.long() * num_classes + column.to(row.device).long()
        if void is not None:
            pairs = pairs[row != void]
        found += torch.bincount(pairs, minlength=len(found)).cpu()
    return found.reshape(num_classes, num_classes)
