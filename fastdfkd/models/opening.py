"""Builds the network of a recipe's section, from any source, and loads weights into it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models.builders import Request, call, importable
from fastdfkd.models.exported import exported_network
from fastdfkd.models.huggingface import (
    InputDefaults,
    has_weights,
    huggingface_network,
    input_defaults,
)
from fastdfkd.models.lazy_layers import shape_lazy_layers
from fastdfkd.models.libraries import timm_network, torchvision_network
from fastdfkd.models.network_sources import builder_in_file
from fastdfkd.models.programs import script_network
from fastdfkd.models.table import build_network
from fastdfkd.models.thinning import thin
from fastdfkd.models.weights import OpenedWeights, load_weights
from fastdfkd.recipe.messages import RecipeError
from fastdfkd.recipe.network_sections import NetworkSection
from fastdfkd.text.shown import shown, shown_name

SOURCES: dict[str, Callable[[str, Request], nn.Module]] = {
    "torchvision": torchvision_network,
    "timm": timm_network,
    "hf": huggingface_network,
    "torchscript": script_network,
    "pt2": exported_network,
}
"""By the part of `model` before the colon. The part after it is their first argument."""

_PROGRAMS = ("torchscript", "pt2")

log = logging.getLogger(__name__)
_FILES = (".pt", ".pth", ".th", ".ckpt", ".bin", ".pkl", ".safetensors", ".pt2", ".onnx", ".h5")
"""Endings of files that people take for networks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedNetwork:
    """A network, and what was loaded into it."""

    network: nn.Module
    """In float32."""
    weights: OpenedWeights | None
    """None: no weights file was given."""


def open_network(
    section: NetworkSection,
    spec: ImageSpec,
    weights: str | Path | None = None,
    *,
    entry: str | None = None,
) -> nn.Module:
    """The network of a recipe's section; see `open_with_weights`."""
    return open_with_weights(section, spec, weights, entry=entry).network


def open_with_weights(
    section: NetworkSection,
    spec: ImageSpec,
    weights: str | Path | None = None,
    *,
    entry: str | None = None,
) -> OpenedNetwork:
    """Build the network of a recipe's section in float32, and load weights if they are given.

    Args:
        section: the teacher or the student section. Its `model` is a name of the table,
            `file.py:builder`, `SOURCE:NAME` with a source of `SOURCES`, or
            `package.module:builder` for any importable callable. A builder is called with
            `num_classes=` if it accepts that keyword, and with `in_channels=` only if a parameter
            has that name. `positional` and `arguments` of the section are passed too and override
            these two. Below a `width` of 1 the network is thinned. `weights` of the section are
            not used.
        spec: description of the images; gives the number of classes and the images' shape.
        weights: a file of tensors by name (`models/weights.py`). Unset: the weights are those of
            the source, or else drawn from torch's global random state.
        entry: which state of the file to load if two fit.

    Raises:
        RecipeError: the network cannot be built.
        ValueError: the weights are missing, damaged, unsafe to open, or do not fit the network.
    """
    try:
        network = _built(section, spec)
        network.float()  # a builder may use another type
        shape_lazy_layers(network, spec.shape)
        if section.width < 1:
            log.info("%s: thinned to %g of its width", section.role, section.width)
            thin(network, section.width, spec.shape)
    except RecipeError as error:
        raise RecipeError(f"{section.role}.model: {error}") from error
    if weights is None:
        return OpenedNetwork(network=network, weights=None)
    sizes = f"{spec.num_classes} classes, {spec.channels} input channels"
    if section.width < 1:
        sizes += f", {section.width:g} of its width"
    built = f"{shown_name(section.model)} ({sizes})"
    found = load_weights(network, Path(weights), built, entry=entry)
    log.info("%s: %s", section.role, found.line)
    return OpenedNetwork(network=network, weights=found)


def brings_weights(section: NetworkSection) -> bool:
    """Whether the source of the network has weights, so that the network is not trained here.

    Raises:
        RecipeError: the folder that the section names does not exist.
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


def stated_input(section: NetworkSection) -> InputDefaults:
    """What the source of the network states about its images; most sources state nothing.

    Raises:
        RecipeError: the folder that the section names does not exist, or a file in it is damaged.
    """
    source, _, name = section.model.partition(":")
    return input_defaults(name) if source == "hf" else InputDefaults()


def _built(section: NetworkSection, spec: ImageSpec) -> nn.Module:
    name = section.model
    source, colon, rest = name.partition(":")
    if section.width < 1 and source in _PROGRAMS:
        raise RecipeError(
            f"expected a network built in Python for a width of {section.width:g}, got a program: "
            "give the Python network that it was made from, or remove `width`"
        )
    request = Request(
        num_classes=spec.num_classes,
        shape=spec.shape,
        positional=tuple(section.positional),
        arguments=section.arguments,
    )
    if not colon:
        return _of_table(name, request)
    if (builder := builder_in_file(name)) is not None:
        return call(builder, name, request)
    if source == "pt2" and section.role == "student":
        raise RecipeError(
            "expected a network that can be trained, got an exported program, which runs only in "
            "eval mode: give the Python network that it was exported from"
        )
    if source in SOURCES:
        return SOURCES[source](rest, request)
    return call(importable(name), name, request)


def _of_table(name: str, request: Request) -> nn.Module:
    if name.endswith(".py"):
        raise RecipeError(f"{shown(name)}: expected a builder in it, {shown_name(name)}:BUILDER")
    if "/" in name or Path(name).suffix in _FILES:
        raise RecipeError(
            f"{shown(name)}: expected a network, got what looks like a file: weights are named "
            "under `weights`, programs as torchscript:FILE or pt2:FILE"
        )
    request.refuse_arguments(f"{shown(name)} is a network of the table and")
    return build_network(name, request.num_classes, request.channels)
