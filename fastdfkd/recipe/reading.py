"""Reading recipes: YAML files, shipped names, dotted overrides, and errors a user can act on."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from fastdfkd.recipe.messages import RecipeError, explain
from fastdfkd.recipe.whole import Recipe

Overrides = Mapping[str, Any] | Sequence[str]
"""`{"synthesis.steps": 2}` or `["synthesis.steps=2"]`."""


def load_recipe(source: str | Path | Recipe, overrides: Overrides = ()) -> Recipe:
    """Read a recipe file (or take a recipe), apply dotted overrides and check the whole.

    A bare name such as `digits-fast5` is looked up among the recipes that ship; `-` is the text
    on standard input.

    Raises:
        RecipeError: the file cannot be read, or a key or a value is not allowed.
    """
    try:
        tree: Any
        if isinstance(source, Recipe):
            tree = OmegaConf.create(source.literal(unset=False))
        elif source == "-":
            tree = OmegaConf.create(sys.stdin.read())
        else:
            tree = OmegaConf.load(find_recipe(source))
        if not OmegaConf.is_dict(tree):
            raise RecipeError(f"{source}: a recipe is a mapping of sections, not a list or a word")
        tree = OmegaConf.merge(tree, _override_tree(overrides))
        values = OmegaConf.to_container(tree, resolve=True)
    except RecipeError:
        raise
    except (OmegaConfBaseException, YAMLError, ValueError, OSError, RecursionError) as error:
        raise RecipeError(f"{source}: not a readable recipe: {error}") from error
    where = source.name if isinstance(source, Recipe) else str(source)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(explain(error, where, Recipe)) from None


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe given by path or by the bare name of one that ships."""
    path = Path(source)
    if os.path.isfile(path):  # unlike Path.is_file, quiet about impossible names
        return path
    shipped = {file.stem: file for file in shipped_recipes()}
    if str(source) in shipped:
        return shipped[str(source)]
    close = difflib.get_close_matches(path.stem, shipped, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise RecipeError(
        f"no recipe {source}: expected a YAML file or one of the names that "
        f"`fastdfkd recipes` lists{hint}"
    )


def shipped_recipes() -> list[Path]:
    """Recipe files that come with the project, sample ones first."""
    root = recipes_folder()
    return [file for room in ("sample", "paper") for file in sorted((root / room).glob("*.yaml"))]


def recipes_folder() -> Path:
    """`recipes/` of the checkout, or the copy inside an installed package."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def _override_tree(overrides: Overrides) -> Any:
    """Overrides as a nested config; in `key=value`, the value is read as YAML."""
    if isinstance(overrides, str):
        overrides = [overrides]
    tree = OmegaConf.create()
    pairs = overrides.items() if isinstance(overrides, Mapping) else map(_split, overrides)
    for key, value in pairs:
        if not isinstance(key, str) or not all(key.split(".")):
            raise RecipeError(f"override {key!r}: expected a dotted key such as synthesis.steps")
        try:
            plain = value.item() if hasattr(value, "item") else value  # numpy, as sweeps draw it
            OmegaConf.update(tree, key, plain, force_add=True)
        except (OmegaConfBaseException, ValueError) as error:
            raise RecipeError(f"override {key}: cannot take {value!r}: {error}") from None
    return tree


def _split(item: str) -> tuple[str, Any]:
    key, equals, text = item.partition("=")
    if not equals or not key:
        raise RecipeError(f"override {item!r}: expected key=value, such as synthesis.steps=2")
    try:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        return key.strip(), parsed["value"]
    except (YAMLError, OmegaConfBaseException) as error:
        raise RecipeError(f"override {item!r}: the value is not YAML: {error}") from None
