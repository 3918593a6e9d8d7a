"""Read recipes from YAML files or by the names of shipped ones, with dotted overrides."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import ValidationError

from fastdfkd.recipe.class_names import read_class_names
from fastdfkd.recipe.messages import RecipeError, explain, nearest, unreadable
from fastdfkd.recipe.whole import Recipe
from fastdfkd.text.shown import shown, shown_name

Overrides = Mapping[str, Any] | Sequence[str]
"""Changes to a recipe: `{"synthesis.steps": 2}` or `["synthesis.steps=2"]`."""


def load_recipe(source: str | Path | Recipe, overrides: Overrides = ()) -> Recipe:
    """Read a recipe, apply overrides and check the result.

    Args:
        source: a file, the name of a shipped recipe such as `digits-fast5`, `-` for standard
            input, or a recipe.
        overrides: changes to it; a later one wins.

    Raises:
        RecipeError: the file cannot be read, or a key or a value is not allowed.
    """
    where = shown_name(source.name if isinstance(source, Recipe) else source)
    try:
        tree = _tree(source)
    except RecipeError:
        raise
    except Exception as error:  # YAML and OmegaConf raise many types for a damaged file
        raise RecipeError(f"{where}: not a readable recipe: {unreadable(error)}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{where}: a recipe is a mapping of sections, not a list or a word")
    for key, value in _pairs(overrides):
        _put(tree, key, value)
    values = _interpolated(tree, where) if _has_interpolations(tree) else tree
    _read_class_names(values, source)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(explain(error, where, Recipe)) from None


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe that is given by its path or by the name of a shipped one.

    Raises:
        RecipeError: there is no such file or name.
    """
    path = Path(source)
    if os.path.isfile(path):  # unlike Path.is_file, it returns False for impossible names
        return path
    shipped = {file.stem: file for file in (*shipped_recipes(), *table_recipes())}
    if str(source) in shipped:
        return shipped[str(source)]
    close = nearest(path.stem, shipped)
    hint = f"; did you mean {close}?" if close else ""
    raise RecipeError(
        f"no recipe {shown_name(source)}: expected a YAML file or one of the names that "
        f"`fastdfkd recipes` lists{hint}"
    )


def shipped_recipes() -> list[Path]:
    """The recipe files that `fastdfkd recipes` lists, the sample recipes first."""
    root = recipes_folder()
    return [file for part in ("sample", "paper") for file in sorted((root / part).glob("*.yaml"))]


def table_recipes() -> list[Path]:
    """The recipe files of the other methods and the ablations in the paper's tables.

    They are found by name too. They are too many to be listed with the others.
    """
    return sorted((recipes_folder() / "paper").glob("*/*.yaml"))


def recipes_folder() -> Path:
    """The folder `recipes/` of the checkout, or its copy in an installed package."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def _tree(source: str | Path | Recipe) -> Any:
    """A recipe as plain data, with interpolations unresolved."""
    if isinstance(source, Recipe):
        return source.literal(unset=False)
    if source == "-":
        found = OmegaConf.create(sys.stdin.read())
    else:
        found = OmegaConf.load(find_recipe(source))
    return OmegaConf.to_container(found)


def _has_interpolations(tree: Any) -> bool:
    """Whether OmegaConf must read plain data once more, which takes most of the time of reading."""
    if isinstance(tree, dict):
        return any(map(_has_interpolations, tree.values()))
    if isinstance(tree, list):
        return any(map(_has_interpolations, tree))
    return isinstance(tree, str) and "${" in tree


def _interpolated(tree: dict[Any, Any], where: str) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    except Exception as error:  # the resolver of an interpolation can raise anything
        key = getattr(error, "full_key", None) or "recipe"
        raise RecipeError(
            f"{where}: not a readable recipe: {shown_name(key)}: {unreadable(error)}"
        ) from error


def _read_class_names(values: Any, source: str | Path | Recipe) -> None:
    """Replace the file that `input.classes` names by the names in it."""
    section = values.get("input") if isinstance(values, dict) else None
    if isinstance(section, dict) and isinstance(section.get("classes"), str):
        folder = None
        if not isinstance(source, Recipe) and source != "-":
            folder = find_recipe(source).absolute().parent
        section["classes"] = read_class_names(section["classes"], folder)


def _pairs(overrides: Overrides) -> Iterator[tuple[str, Any]]:
    """Yield overrides as dotted keys and plain values. The value of `key=value` is read as YAML."""
    if isinstance(overrides, str):
        overrides = [overrides]
    pairs = overrides.items() if isinstance(overrides, Mapping) else map(_split, overrides)
    for key, value in pairs:
        if not isinstance(key, str) or not all(part.strip() for part in key.split(".")):
            raise RecipeError(
                f"override {shown(key)}: expected a dotted key such as synthesis.steps"
            )
        try:
            plain = value.item() if hasattr(value, "item") else value  # a numpy number of a sweep
            checked = OmegaConf.to_container(OmegaConf.create({"value": plain}))
        except Exception as error:  # a type that YAML cannot represent
            raise RecipeError(
                f"override {shown_name(key)}: cannot take {shown(value)}: {unreadable(error)}"
            ) from None
        assert isinstance(checked, dict)
        yield key, checked["value"]


def _split(item: str) -> tuple[str, Any]:
    key, equals, text = str(item).partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"override {shown(item)}: expected key=value, such as synthesis.steps=2")
    try:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        return key.strip(), parsed["value"]
    except Exception as error:  # invalid YAML, or a number or date out of range
        raise RecipeError(
            f"override {shown_name(key)}: the value {shown(text)} is no plain YAML: "
            f"{unreadable(error)}"
        ) from None


def _put(tree: dict[Any, Any], key: str, value: Any) -> None:
    """Set one dotted key. A mapping is merged into the section that exists."""
    *sections, last = key.split(".")
    for number, section in enumerate(sections, 1):
        inner = tree.get(section)
        inner = tree[section] = {} if inner is None else inner
        if not isinstance(inner, dict):
            name = shown_name(".".join(sections[:number]))
            raise RecipeError(
                f"override {shown_name(key)}: expected {name} to be a section of settings, it is "
                f"{shown(inner)}"
            )
        tree = inner
    tree[last] = _merged(tree.get(last), value)


def _merged(before: Any, value: Any) -> Any:
    """`value`, or if both are mappings, both merged; `value` wins."""
    if not (isinstance(before, dict) and isinstance(value, dict)):
        return value
    return before | {key: _merged(before.get(key), each) for key, each in value.items()}
