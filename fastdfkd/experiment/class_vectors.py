"""Reads the vectors of classes that a recipe names (`synthesis.class_vectors`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fastdfkd.experiment.images import image_spec
from fastdfkd.recipe import Recipe
from fastdfkd.text.shown import reason, shown_name

_KEY = "synthesis.class_vectors"


def read_class_vectors(recipe: Recipe) -> Tensor | None:
    """The vectors (K, D) float32 of a recipe's classes; None if it names no file.

    Args:
        recipe: names an .npy file, or a .safetensors file with one tensor.

    Raises:
        ValueError: the file cannot be read, or is not one vector of finite numbers for each class.
    """
    if recipe.synthesis.vectors_file is None:
        return None
    num_classes = image_spec(recipe).num_classes
    path = Path(recipe.synthesis.vectors_file).expanduser()
    vectors, where = _read(path), f"{_KEY}: {shown_name(path)}"
    if vectors.ndim != 2 or vectors.shape[0] != num_classes or vectors.shape[1] == 0:
        raise ValueError(
            f"{where}: expected one vector for each of {num_classes} classes, an array of shape "
            f"({num_classes}, length), got {tuple(vectors.shape)}"
        )
    if not vectors.is_floating_point():
        raise ValueError(f"{where}: expected floating-point numbers, got {vectors.dtype}")
    vectors = vectors.float()
    if not torch.isfinite(vectors).all():
        raise ValueError(f"{where}: expected finite numbers, got NaN or infinity")
    if len(torch.unique(vectors, dim=0)) < num_classes:
        raise ValueError(f"{where}: two classes have the same vector: give each its own")
    return vectors


def _read(path: Path) -> Tensor:
    where = f"{_KEY}: {shown_name(path)}"
    if not path.is_file():
        raise ValueError(f"{where}: no such file; expected an .npy or .safetensors file")
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        if path.suffix == ".safetensors":
            found = load_file(path)
    except Exception as error:  # damaged files raise errors of many kinds
        raise ValueError(f"{where} cannot be read: {reason(error)}") from None
    if path.suffix != ".safetensors":
        raise ValueError(f"{where}: expected an .npy or .safetensors file")
    if len(found) != 1:
        raise ValueError(f"{where}: expected one tensor, got {len(found)}")
    return next(iter(found.values()))
