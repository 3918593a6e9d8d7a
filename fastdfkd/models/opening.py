"""Opening the network of a recipe's section, from wherever it comes, with or without weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models.builders import Request, call, importable
from fastdfkd.models.exported import exported_network
from fastdfkd.models.huggingface import has_weights, huggingface_network
from fastdfkd.models.libraries import timm_network, torchvision_network
from fastdfkd.models.programs import script_network
from fastdfkd.models.source_files import builder_in_file
from fastdfkd.models.table import build_network
from fastdfkd.models.weights import OpenedWeights, load_weights
from fastdfkd.recipe.messages import RecipeError
from fastdfkd.recipe.sections import NetworkSection
from fastdfkd.text.shown import shown, shown_name

SOURCES: dict[str, Callable[[str, Request], nn.Module]] = {
    "torchvision": torchvision_network,
    "timm": timm_network,
    "hf": huggingface_network,
    "torchscript": script_network,
    "pt2": exported_network,
}
"""By what stands before the colon of `model`; what stands behind it is their first argument."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedNetwork:
    """A network, and what was opened for it."""

    network: nn.Module
    """In float32."""
    weights: OpenedWeights | None
    """None where no file was named."""


def open_network(
    section: NetworkSection,
    spec: ImageSpec,
    weights: str | Path | None = None,
    *,
    entry: str | None = None,
) -> nn.Module:
    """The network alone of `opened`."""
    return opened(section, spec, weights, entry=entry).network


def opened(
    section: NetworkSection,
    spec: ImageSpec,
    weights: str | Path | None = None,
    *,
    entry: str | None = None,
) -> OpenedNetwork:
    """Build the network of a recipe's section in float32 and, where `weights` are given, load them.

    Args:
        section: `model` is a name of the table, `file.py:builder`, `SOURCE:NAME` with a source of
            `SOURCES`, or `package.module:builder` for any importable callable. A builder is called
            with `num_classes=` where it takes that keyword, and with `in_channels=` only where it
            has a parameter of that name. The section's `positional` and `arguments` win over these
            two. Its `weights` are not looked at.
        spec: of the images that the network reads; gives classes, channels and size.
        weights: a file of tensors by name (`models/weights.py`). Unset: the weights are those that
            the source has, else freshly drawn from torch's global random state.
        entry: which state in the file is meant, where two fit.

    Raises:
        RecipeError: the network cannot be built.
        ValueError: the weights are missing, damaged, unsafe to open, or do not fit the network.
    """
    try:
        network = _built(section, spec)
    except RecipeError as error:
        raise RecipeError(f"{section.role}.model: {error}") from error
    network.float()  # what of it was built in another type
    if weights is None:
        return OpenedNetwork(network=network, weights=None)
    sizes = f"{spec.num_classes} classes, {spec.channels} input channels"
    built = f"{shown_name(section.model)} ({sizes})"
    found = load_weights(network, Path(weights), built, entry=entry)
    log.info("%s: %s", section.role, found.line)
    return OpenedNetwork(network=network, weights=found)


def brings_weights(section: NetworkSection) -> bool:
    """Whether the network comes with weights of its own, which are not to be trained.

    Raises:
        RecipeError: a folder that it names is not there.
    """
    source, colon, name = section.model.partition(":")
    if not colon or name.endswith(".py"):
        return False
    arguments = section.arguments
    wished = {
        "torchvision": bool(arguments.get("weights")),
        "timm": bool(arguments.get("pretrained") or arguments.get("checkpoint_path")),
        "torchscript": True,
        "pt2": True,
    }
    return has_weights(name) if source == "hf" else wished.get(source, False)


def _built(section: NetworkSection, spec: ImageSpec) -> nn.Module:
    name = section.model
    request = Request(
        num_classes=spec.num_classes,
        shape=spec.shape,
        positional=tuple(section.positional),
        arguments=section.arguments,
    )
    source, colon, rest = name.partition(":")
    if not colon:
        return _of_table(name, request)
    if (builder := builder_in_file(name)) is not None:
        return call(builder, name, request)
    if source == "pt2" and section.role == "student":
        raise RecipeError(
            "expected a network that can be trained, got an exported program, which runs in eval "
            "mode alone and cannot be trained: name the Python network that it was made from"
        )
    if source in SOURCES:
        return SOURCES[source](rest, request)
    return call(importable(name), name, request)


def _of_table(name: str, request: Request) -> nn.Module:
    if name.endswith(".py"):
        raise RecipeError(f"{shown(name)}: expected a builder in it, {shown_name(name)}:BUILDER")
    if "/" in name or Path(name).suffix in (".pt", ".pth", ".ckpt", ".safetensors", ".pt2"):
        raise RecipeError(
            f"{shown(name)}: expected a network, got what looks like a file: weights are named "
            "under `weights`, programs as torchscript:FILE or pt2:FILE"
        )
    request.refuse_arguments(f"{shown(name)} is a network of the table and")
    return build_network(name, request.num_classes, request.channels)
