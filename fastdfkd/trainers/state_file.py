"""Nested states (dicts, lists, numbers, texts, tensors) as one safetensors file. Nothing executes.

The tensors are stored as such; the rest of the tree is JSON in the file's metadata, with
`{"tensor": name}` where a tensor stood. Files are written under a temporary name, synced to the
disk and renamed, so a file with its right name is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fastdfkd.runs.files import write_whole


def save_state(path: Path, tree: Any) -> None:
    """Write a tree. Tensors and numpy arrays come back as CPU tensors, tuples as lists.

    Raises:
        OSError: the disk is full or the folder cannot be written to.
        TypeError: something in the tree is none of the above.
    """
    tensors: dict[str, Tensor] = {}
    shape = _without_tensors(tree, tensors)
    write_whole(path, save(tensors, metadata={"tree": json.dumps(shape)}))


def load_state(path: Path) -> Any:
    """Read a tree that `save_state` wrote.

    Raises:
        ValueError: the file is not whole, or another kind of file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tree = json.loads((file.metadata() or {})["tree"])
            return _with_tensors(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except Exception as error:  # safetensors raises its own class for every kind of damage
        raise ValueError(f"{path} is damaged or no state file: {error}") from error


def _without_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, np.ndarray):
        tree = torch.tensor(tree)
    if isinstance(tree, Tensor):
        name = str(len(tensors))
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, Mapping):
        items = [[key, _without_tensors(value, tensors)] for key, value in tree.items()]
        return {"items": items}
    if isinstance(tree, list | tuple):
        return [_without_tensors(value, tensors) for value in tree]
    if tree is None or isinstance(tree, str | int | float):
        return tree
    raise TypeError(f"a state holds {type(tree).__name__}, which a state file cannot")


def _with_tensors(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_with_tensors(value, tensors) for value in tree]
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {key: _with_tensors(value, tensors) for key, value in tree["items"]}
    return tree
