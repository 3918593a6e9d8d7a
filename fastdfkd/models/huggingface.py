"""Image classifiers of transformers from a folder on the disk. Nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fastdfkd.models.builders import Request
from fastdfkd.models.extras import import_extra
from fastdfkd.models.file_kinds import UnknownKind, weights_file_in
from fastdfkd.models.mismatch import first_names
from fastdfkd.models.unwrapping import plain_network
from fastdfkd.models.weights import load_weights
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.runs.files import read_whole
from fastdfkd.text.shown import reason, shown, shown_name

_MOST_BYTES = 2**24
_PROCESSOR, _CONFIG = "preprocessor_config.json", "config.json"


@dataclass(frozen=True, kw_only=True)
class InputDefaults:
    """What a folder says of the images that its network was trained on; None where it is silent."""

    mean: tuple[float, ...] | None = None
    """Per channel, of images in 0..1."""
    std: tuple[float, ...] | None = None
    """Likewise."""
    size: tuple[int, int] | None = None
    """(H, W)."""
    channels: int | None = None
    class_names: tuple[str, ...] | None = None
    """In the order of the network's answers."""


def input_defaults(folder: str | Path) -> InputDefaults:
    """What `preprocessor_config.json` and `config.json` in a folder say of a network's images.

    Needs no transformers.

    Raises:
        RecipeError: no such folder, or a file in it is damaged.
    """
    path = _folder(folder)
    config = _read(path / _CONFIG)
    processor = _read(path / _PROCESSOR) if (path / _PROCESSOR).is_file() else {}
    channels, names = _whole(config.get("num_channels")), config.get("id2label")
    try:
        mean, std = _statistics(processor, channels)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{path / _PROCESSOR}: expected numbers ({reason(error)})") from error
    return InputDefaults(
        mean=mean,
        std=std,
        size=_size(processor, config),
        channels=channels,
        class_names=_class_names(names) if isinstance(names, dict) else None,
    )


def _statistics(
    processor: Mapping[str, Any], channels: int | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and deviation of images in 0..1.

    The processor turns a pixel p of 0..255 into p * rescale_factor, less 1 with `rescale_offset`,
    and that into (x - image_mean) / image_std.
    """
    rescales = processor.get("do_rescale", True)
    top = 255 * float(processor.get("rescale_factor", 1 / 255)) if rescales else 255.0
    offset = 1.0 if rescales and processor.get("rescale_offset") else 0.0
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if processor.get("do_normalize", True) is False:
        mean, std = [0.0] * (channels or 3), [1.0] * (channels or 3)
    if not (isinstance(mean, list) and isinstance(std, list) and top > 0):
        return None, None
    return (
        tuple((float(value) + offset) / top for value in mean),
        tuple(float(value) / top for value in std),
    )


def _size(processor: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, int] | None:
    """What is left of an image after the crop, else after the resize, else the network's own."""
    crops = processor.get("do_center_crop") and processor.get("crop_size")
    for value in (crops, processor.get("size"), config.get("image_size")):
        if isinstance(value, dict):
            pair = value.get("height"), value.get("width")
            value = pair if None not in pair else value.get("shortest_edge")
        if isinstance(value, int) and not isinstance(value, bool):
            value = (value, value)
        if isinstance(value, list | tuple) and len(value) == 2 and all(map(_whole, value)):
            return int(value[0]), int(value[1])
    return None


def _class_names(names: Mapping[str, Any]) -> tuple[str, ...] | None:
    try:
        return tuple(str(names[str(number)]) for number in range(len(names)))
    except KeyError:
        return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def has_weights(folder: str | Path) -> bool:
    """Whether there are weights in the folder."""
    try:
        weights_file_in(_folder(folder))
    except UnknownKind:
        return False
    return True


def huggingface_network(folder: str, request: Request) -> nn.Module:
    """`hf:FOLDER`, the image classifier of a folder that `save_pretrained` wrote.

    With weights in the folder the network is as it was saved. Without, the folder is a design: it
    is built afresh for the images' classes, channels and size. `arguments` are keys of its config.
    Code in the folder is not run.

    Raises:
        RecipeError: transformers is not installed, the folder is none of an image classifier, or
            its weights do not fit.
    """
    path = _folder(folder)
    transformers = import_extra("transformers", "hf")
    if request.positional:
        raise RecipeError(f"hf:{shown_name(folder)} takes no positional arguments")
    own_code = "auto_map" in _read(path / _CONFIG)
    try:
        config = transformers.AutoConfig.from_pretrained(str(path), **_LOCAL)
        changes = {} if has_weights(folder) else _design(config, request)
        for key, value in {**changes, **request.arguments}.items():
            if not hasattr(config, key):
                raise RecipeError(unknown(f"arguments.{shown_name(key)}", key, _keys(config)))
            setattr(config, key, value)
        network = _filled(transformers.AutoModelForImageClassification, config, path)
        return plain_network(network, "its classifier")
    except Exception as error:  # whatever transformers raises
        hint = (
            "; the folder has code of its own, which is not run: name a builder, file.py:builder"
            if own_code
            else ""
        )
        raise RecipeError(f"hf:{shown_name(folder)}: {reason(error)}{hint}") from error


_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def _filled(classifier: Any, config: Any, path: Path) -> nn.Module:
    """A network of the config, with the folder's weights where it has any.

    Those in safetensors are read by transformers, which knows their older names; others by us.

    Raises:
        ValueError: they do not fit.
    """
    if not has_weights(path) or ".bin" in weights_file_in(path).name:
        network: nn.Module = classifier.from_config(config, trust_remote_code=False)
        if has_weights(path):
            load_weights(network, path, "its config")
        return network
    network, found = classifier.from_pretrained(
        str(path), config=config, output_loading_info=True, use_safetensors=True, **_LOCAL
    )
    wrong = {key: sorted(map(str, found.get(key, ()))) for key in _FINDINGS}
    if any(wrong.values()):
        lines = [f"{_FINDINGS[key]}: {first_names(names)}" for key, names in wrong.items() if names]
        raise ValueError(f"its weights do not fit its config: {'; '.join(lines)}")
    return network


_FINDINGS = {
    "missing_keys": "missing",
    "unexpected_keys": "unexpected",
    "mismatched_keys": "other shape",
}


def _design(config: Any, request: Request) -> dict[str, Any]:
    """What follows from the images, of the keys that the config has."""
    height, width = request.shape[1:]
    values = {
        "num_labels": request.num_classes,
        "num_channels": request.channels,
        "image_size": height if height == width else [height, width],
    }
    return {key: value for key, value in values.items() if hasattr(config, key)}


def _keys(config: Any) -> list[str]:
    return [key for key in config.to_dict() if key[0] != "_"]


def _folder(folder: str | Path) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise RecipeError(
            f"hf:{shown_name(folder)}: expected a folder that save_pretrained wrote, found "
            f"{'a file' if path.exists() else 'nothing'} (looked in {shown_name(Path.cwd())}); "
            "nothing is downloaded"
        )
    if not (path / _CONFIG).is_file():
        raise RecipeError(
            f"hf:{shown_name(folder)}: expected {_CONFIG} in the folder, which save_pretrained "
            "writes; there is none"
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_whole(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{shown_name(path)}: not readable as JSON ({reason(error)})") from error
    if not isinstance(found, dict):
        raise RecipeError(f"{shown_name(path)}: expected a JSON object, got {shown(found)}")
    return found
