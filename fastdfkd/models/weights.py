"""Reads weights without unpickling objects, and writes them atomically."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from fastdfkd.core.network_use import load_state
from fastdfkd.runs.files import write_whole
from fastdfkd.text.shown import reason, shown, shown_name

PICKLED = (".pt", ".pth", ".ckpt", ".bin")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")
_LISTED = 5


def load_weights(network: nn.Module, path: Path, built: str = "the network") -> None:
    """Load the weights at `path` into `network`, in place.

    All keys must match, except that `num_batches_tracked` may be missing, as in old checkpoints.

    Args:
        network: to load into.
        path: see `read_weights`.
        built: description of the network for messages.

    Raises:
        ValueError: the file cannot be read (see `read_weights`) or does not match. The message
            lists the first keys that are missing, unexpected or of another shape.
    """
    state, own = read_weights(path), network.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    reshaped = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    findings = {"missing": missing, "unexpected": extra, "other shape": reshaped}
    lines = [f"  {kind}: {_first(keys)}" for kind, keys in findings.items() if keys]
    if lines:
        raise ValueError(
            "\n".join([f"weights {shown_name(path)} do not fit {built}:", *lines])
            + "\n  set model, data and arguments to those that the weights were trained with"
        )
    load_state(network, state, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from a `.safetensors` file or a state dict of `torch.save`.

    The state dict may be inside a dictionary under `state_dict`, `model_state_dict`, `model` or
    `net`. The name prefixes of DataParallel and torch.compile are removed.

    Raises:
        ValueError: the file does not exist, has an unknown ending, is damaged, or contains pickled
            objects. Those are never loaded, because unpickling can run code.
    """
    if not os.path.isfile(path):  # Path.is_file raises for names that cannot exist
        folder = shown_name(path.parent.absolute())
        raise ValueError(f"weights {shown_name(path)}: no such file (looked in {folder})")
    if path.suffix == ".safetensors":
        try:
            return _without_prefix(load_file(path))
        except (SafetensorError, OSError) as error:
            raise ValueError(_damaged(path, error)) from error
    if path.suffix in PICKLED:
        try:
            return _without_prefix(_tensors(_unpickle(path), path))
        except RecursionError as error:  # a dictionary that contains itself
            raise ValueError(_damaged(path, error)) from error
    endings = ", ".join((".safetensors", *PICKLED))
    raise ValueError(
        f"weights {shown_name(path)}: expected a file ending in {endings}, got {shown(path.suffix)}"
    )


def save_weights(path: Path | str, model_or_state: nn.Module | Mapping[str, Tensor]) -> None:
    """Write parameters and buffers as safetensors; a reader sees the old or the new file."""
    state = model_or_state
    if isinstance(state, nn.Module):
        state = state.state_dict()
    content = save({key: _plain(value).clone() for key, value in state.items()})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of the names, types, shapes and bytes of all tensors, sorted by name.

    It does not depend on device or memory layout.
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        value = _plain(state_dict[name])
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def _unpickle(path: Path) -> Any:
    try:
        _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # about the pickle protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's text advises to open the file unsafely, so it is not shown.
        text = str(error).lower()
        if not any(word in text for word in ("global", "operand", "instruction", "class")):
            raise ValueError(_damaged(path, ValueError("no archive of tensors"))) from None
        raise ValueError(
            f"weights {shown_name(path)}: contains pickled Python objects, perhaps a whole module. "
            "It is not opened, because that could run code. If you trust it, open it yourself and "
            "save its state dict: torch.save(model.state_dict(), path)"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(_damaged(path, error)) from error


def _check_archive(path: Path) -> None:
    """Refuse compressed archives: torch.save does not compress, and a small file could fill memory.

    Raises:
        ValueError: the archive unpacks to more bytes than the file has.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, but torch.save does not compress")


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    inner = [content[key] for key in _WRAPPERS if isinstance(content, Mapping) and key in content]
    for wrapped in inner:
        if isinstance(wrapped, Mapping):
            return _tensors(wrapped, path)
    if not isinstance(content, Mapping) or not content:
        came = "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise ValueError(
            f"weights {shown_name(path)}: expected a state dict, got {came}; save "
            "model.state_dict()"
        )
    others = [str(key) for key, value in content.items() if not _is_plain(value)]
    if others:
        raise ValueError(
            f"weights {shown_name(path)}: expected only dense tensors, but {_first(others)} are "
            "something else; save only model.state_dict()"
        )
    return {str(key): value for key, value in content.items()}


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor with all values in memory: not sparse, not on the meta device."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            return _without_prefix({key.removeprefix(prefix): v for key, v in state.items()})
    return state


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(map(shown_name, keys[:_LISTED])) + more


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"weights {shown_name(path)}: cannot be read, damaged or cut short ({reason(error)}); save "
        "or copy it again"
    )
