"""Stores a nested state (dicts, lists, numbers, strings, tensors) in one safetensors file.

Reading such a file executes no code. The tensors are stored as tensors. The rest is JSON in the
metadata of the file, with `{"tensor": name}` in place of each tensor. A file is written under a
temporary name, synced to disk and renamed, so a file under its final name is complete.
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
    """Write a nested state. Tensors and numpy arrays are read back as CPU tensors, tuples as lists.

    Raises:
        OSError: the disk is full or the folder is not writable.
        TypeError: the state holds an object of another type.
    """
    tensors: dict[str, Tensor] = {}
    shape = _without_tensors(tree, tensors)
    write_whole(path, save(tensors, metadata={"tree": json.dumps(shape)}))


def load_state(path: Path) -> Any:
    """Read a nested state that `save_state` wrote.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tree = json.loads((file.metadata() or {})["tree"])
            return _with_tensors(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except Exception as error:  # safetensors raises its own class for every kind of damage
        raise ValueError(f"{path} is damaged, or no state file: {error}") from error


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
    raise TypeError(f"a state file cannot hold objects of type {type(tree).__name__}")


def _with_tensors(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_with_tensors(value, tensors) for value in tree]
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {key: _with_tensors(value, tensors) for key, value in tree["items"]}
    return tree
