"""Checks the labels that come with images as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.records import IntArray


def checked_labels(labels: Any, count: int, spec: ImageSpec, where: str) -> IntArray:
    """Labels as (N,) int64; one-hot rows (N, K) become their class.

    Args:
        labels: an array of whole numbers (N,) or (N, 1), or one-hot rows.
        count: N, the number of images.
        spec: has the number of classes.
        where: what messages call the data.

    Raises:
        ValueError: they are not whole numbers, one for each image, from 0 to K - 1.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and array.shape[1] == spec.num_classes and _one_hot(array):
        array = array.argmax(1)
    whole = array.dtype.kind in "iu" or (
        array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    )
    if array.ndim != 1 or len(array) != count or not whole:
        raise ValueError(
            f"{where}: expected {count:,} labels, whole numbers from 0 to {spec.num_classes - 1}, "
            f"one for each image, got {array.dtype} {tuple(array.shape)}"
        )
    if not count:
        raise ValueError(f"{where}: expected at least one image, there is none")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= spec.num_classes:
        first = int(np.flatnonzero((array < 0) | (array >= spec.num_classes))[0])
        hint = ": subtract 1" if (low, high) == (1, spec.num_classes) else ""
        if low == -1:
            hint = ": -1 mostly stands for a label that is kept secret; use a split with labels"
        raise ValueError(
            f"{where}: expected labels from 0 to {spec.num_classes - 1}, because there are "
            f"{spec.num_classes} classes, got {low} to {high} (first in row {first}){hint}"
        )
    return array.astype(np.int64)


def _one_hot(array: Any) -> bool:
    return bool((array.sum(1) == 1).all() and ((array == 0) | (array == 1)).all())
