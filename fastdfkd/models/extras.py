"""Packages that some sources of networks and exports need: they come with an extra of this one."""

from __future__ import annotations

import importlib
from types import ModuleType

from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason


def import_extra(package: str, name: str, what: str | None = None) -> ModuleType:
    """The package that comes with the extra called `name`.

    Args:
        package: to import.
        name: of the extra.
        what: what needs it, for the message; None: a network `name:...`.

    Raises:
        RecipeError: it is not installed, or cannot be imported. Says which command installs it.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:  # a package that does not fit the torch beside it, perhaps
        raise RecipeError(
            f"{what or f'{name}:...'} needs the package {package}, which cannot be imported "
            f"({reason(error)}): pip install 'fastdfkd[{name}]'"
        ) from error
