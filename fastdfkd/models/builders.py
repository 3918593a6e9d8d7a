"""Calls a builder with what follows from the images and with the arguments of the recipe."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import nn

from fastdfkd.models.unwrapping import plain_network, uncompiled
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.text.shown import reason, shown

END_OF_SCRIPT = (
    "it ends the program when it is read, as a script that parses a command line does: put what "
    'only a script does below `if __name__ == "__main__":`'
)
"""What to do with a file of the user's that raises SystemExit."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a builder is asked for: classes, image shape, and arguments of the recipe."""

    num_classes: int
    shape: tuple[int, int, int]
    """(C, H, W) of the images."""
    positional: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments; they override what follows from the images."""

    @property
    def channels(self) -> int:
        """Number of input channels C."""
        return self.shape[0]

    def refuse_arguments(self, what: str) -> None:
        """Raise if there are arguments, for a network that is not built by a call.

        Raises:
            RecipeError: there are.
        """
        names = [*self.arguments, *(["positional"] if self.positional else [])]
        if names:
            raise RecipeError(
                f"arguments ({', '.join(names)}) are only passed to your own builder "
                f"(package.module:builder, file.py:builder); {what} takes none: remove them"
            )


def importable(name: str) -> Callable[..., Any]:
    """Import the callable that `package.module:builder` or `package.module:Class.method` names.

    Raises:
        RecipeError: the module cannot be imported, or has no such callable.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        remedy = (
            END_OF_SCRIPT
            if isinstance(error, SystemExit)
            else "install it in this environment or put its folder on PYTHONPATH"
        )
        raise RecipeError(
            f"model {shown(name)}: module {shown(module_name)} cannot be imported "
            f"({said(error)}); {remedy}"
        ) from error
    builder = callable_in(module, attribute)
    if builder is not None:
        return builder
    public = [key for key, value in vars(module).items() if key[0] != "_" and callable(value)]
    raise RecipeError(unknown(f"model {shown(name)}", attribute, public))


def callable_in(module: ModuleType, path: str) -> Callable[..., Any] | None:
    """The callable of a module under `name` or `Class.method`; None if there is none."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if callable(found) else None


def call(builder: Callable[..., Any], name: str, request: Request) -> nn.Module:
    """Call a builder; returns its network without wrappers.

    `num_classes=` and `in_channels=` are passed if the builder has a parameter of that name. A
    builder with `**keywords` alone gets only `num_classes`.

    Raises:
        RecipeError: the builder needs other arguments, raises, or returns no network.
    """
    wanted = {"num_classes": request.num_classes, "in_channels": request.channels}
    given = {**_accepted(builder, wanted, request.positional), **request.arguments}
    return called(builder, name, request.positional, given)


def said(error: BaseException) -> str:
    """What user code raised: the type of the error and the first line of its message."""
    return f"{type(error).__name__}: {reason(error)}"


def called(
    builder: Callable[..., Any], name: str, positional: tuple[Any, ...], given: Mapping[str, Any]
) -> nn.Module:
    """Call a builder with exactly these arguments; raises as `call` does."""
    if isinstance(builder, nn.Module):
        raise RecipeError(
            f"model {shown(name)}: expected a function or a class that makes a network, got a "
            f"network ({type(builder).__name__}): name a function that returns it"
        )
    try:
        signature = inspect.signature(builder)
        signature.bind(*positional, **given)
    except TypeError as error:
        came = [*map(shown, positional), *(f"{key}={shown(value)}" for key, value in given.items())]
        raise RecipeError(
            f"model {shown(name)}: the builder takes {signature} and cannot be called with "
            f"{', '.join(came) or 'nothing'} ({reason(error)}); set its parameters under "
            "`arguments`, or in their order under `positional`, next to `model`"
        ) from error
    except ValueError:  # a builder in C has no signature
        pass
    try:
        network = builder(*positional, **given)
    except (Exception, SystemExit) as error:  # the user's builder may raise anything
        raise RecipeError(f"model {shown(name)}: its builder raised {said(error)}") from error
    try:
        return uncompiled(plain_network(network, f"model {shown(name)}"))
    except ValueError as error:
        raise RecipeError(str(error)) from error


def _accepted(
    builder: Callable[..., Any], wanted: Mapping[str, int], positional: tuple[Any, ...]
) -> dict[str, int]:
    """The `wanted` keywords that the builder accepts and that `positional` does not fill."""
    try:
        signature = inspect.signature(builder)
        taken = signature.bind_partial(*positional).arguments
    except (TypeError, ValueError):  # the message comes from the call
        return {}
    parameters = signature.parameters
    by_keyword = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    named = {key for key in wanted if key in parameters and parameters[key].kind in by_keyword}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        named.add("num_classes")
    return {key: wanted[key] for key in wanted if key in named - taken.keys()}
