"""The command line that runs a recipe again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from fastdfkd.recipe.messages import RecipeError
from fastdfkd.recipe.reading import load_recipe
from fastdfkd.recipe.whole import Recipe


def command_with_overrides(recipe: Recipe, command: str) -> str | None:
    """The command that makes this recipe from the shipped one of its name.

    Args:
        recipe: of the run.
        command: `distill` or `synthesize`.

    Returns:
        `fastdfkd distill digits-fast5 seed=1`. None if there is no shipped recipe of this name, or
        if overrides do not lead to this recipe.
    """
    try:
        shipped = load_recipe(recipe.name)
        before, now = shipped.flat(), recipe.flat()
        overrides = [
            f"{key}={_value(now[key])}"
            for key in now
            if key not in before or before[key] != now[key]
        ]
        if load_recipe(recipe.name, overrides).flat() != now:
            return None
    except RecipeError:
        return None
    return shlex.join(["fastdfkd", command, recipe.name, *overrides])


def command_with_file(folder: Path, command: str) -> str:
    """The command that runs the recipe in a run's folder, with all its keys, again."""
    again = folder.with_name(f"{folder.name}-again")
    return shlex.join(["fastdfkd", command, str(folder / "recipe.yaml"), "--out", str(again)])


def _value(value: Any) -> str:
    """A value as it is written after `KEY=`."""
    return value if isinstance(value, str) and value else json.dumps(value)
