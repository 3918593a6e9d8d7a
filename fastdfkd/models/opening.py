"""Builds a network from the table or by the user's builder, and loads weights into it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models.table import build_network
from fastdfkd.models.unwrapping import plain_network, uncompiled
from fastdfkd.models.weights import load_weights, save_weights, weights_digest
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.recipe.sections import NetworkSection
from fastdfkd.text.shown import reason, shown, shown_name

__all__ = ["open_network", "save_weights", "weights_digest"]


def open_network(
    section: NetworkSection, spec: ImageSpec, weights: str | Path | None = None
) -> nn.Module:
    """Build the network of a recipe's section in float32, and load weights if they are given.

    Args:
        section: the teacher or the student section. Its `model` is a name of the table, or
            `package.module:builder` for any importable callable. The builder is called with
            `num_classes=` if it accepts that keyword, and with `in_channels=` only if a parameter
            has that name, so `torchvision.models:resnet18` works. `arguments` of the section are
            passed too and override these two. `weights` of the section are not used.
        spec: description of the images; gives the number of classes and of channels.
        weights: a `.safetensors` file, or a state dict saved by `torch.save` as `.pt`, `.pth`,
            `.ckpt` or `.bin`, possibly inside a dictionary under `state_dict`,
            `model_state_dict`, `model` or `net`. Unset: the weights are drawn from torch's global
            random state.

    Raises:
        RecipeError: the network cannot be built.
        ValueError: the weights are missing, damaged, unsafe to open, or do not fit the network.
    """
    try:
        network = _built(section, spec)
    except RecipeError as error:
        raise RecipeError(f"{section.role}.model: {error}") from error
    network.float()  # a builder may use another type
    if weights is not None:
        sizes = f"{spec.num_classes} classes, {spec.channels} input channels"
        load_weights(network, Path(weights), f"{shown_name(section.model)} ({sizes})")
    return network


def _built(section: NetworkSection, spec: ImageSpec) -> nn.Module:
    name, arguments = section.model, section.arguments
    if ":" in name:
        wanted = {"num_classes": spec.num_classes, "in_channels": spec.channels}
        return _call(_find(name), name, wanted, dict(arguments))
    if arguments:
        raise RecipeError(
            f"arguments ({', '.join(arguments)}) are only passed to your own builder "
            f"(package.module:builder); {shown(name)} is a network of the table: remove them"
        )
    return build_network(name, spec.num_classes, spec.channels)


def _find(name: str) -> Callable[..., Any]:
    """Import the callable that `package.module:builder` names."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise RecipeError(
            f"model {shown(name)}: module {shown(module_name)} cannot be imported "
            f"({reason(error)}); install it in this environment or put its folder on PYTHONPATH"
        ) from error
    builder = getattr(module, attribute, None)
    if callable(builder):
        return builder  # type: ignore[no-any-return]
    public = [key for key, value in vars(module).items() if key[0] != "_" and callable(value)]
    raise RecipeError(unknown(f"model {shown(name)}", attribute, public))


def _call(
    builder: Callable[..., Any], name: str, wanted: dict[str, int], arguments: dict[str, Any]
) -> nn.Module:
    given = {**_accepted(builder, wanted), **arguments}
    try:
        inspect.signature(builder).bind(**given)
    except TypeError as error:
        raise RecipeError(
            f"model {shown(name)}: the builder takes {inspect.signature(builder)} and cannot be "
            f"called with {', '.join(f'{key}={shown(value)}' for key, value in given.items())} "
            f"({reason(error)}); set its parameters under `arguments`, next to `model`"
        ) from error
    try:
        network = builder(**given)
    except Exception as error:  # the user's builder may raise anything
        raise RecipeError(
            f"model {shown(name)}: its builder raised {type(error).__name__}: {reason(error)}"
        ) from error
    try:
        return uncompiled(plain_network(network, f"model {shown(name)}"))
    except ValueError as error:
        raise RecipeError(str(error)) from error


def _accepted(builder: Callable[..., Any], wanted: dict[str, int]) -> dict[str, int]:
    """The `wanted` keywords that the builder accepts; `**kwargs` alone gets only `num_classes`."""
    parameters = inspect.signature(builder).parameters
    by_keyword = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    named = {key for key in wanted if key in parameters and parameters[key].kind in by_keyword}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        named.add("num_classes")
    return {key: wanted[key] for key in wanted if key in named}
