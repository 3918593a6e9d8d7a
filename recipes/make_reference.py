"""Writes `docs/recipe-keys.md`: every key of a recipe, from the sections that check it.

The text of a key is its docstring in `fastdfkd/recipe/`. `tests/recipe/test_reference.py` checks
that the committed page is what this script writes.

    .venv/bin/python recipes/make_reference.py
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from fastdfkd.recipe import METHODS, Recipe, SynthesisSection
from fastdfkd.recipe.methods import DefaultMethod
from fastdfkd.recipe.sections import Section

PAGE = Path(__file__).parents[1] / "docs" / "recipe-keys.md"

HEAD = """\
# Recipe keys

Every key that a recipe may have. On the command line a key is written with its section:
`fastdfkd distill digits-fast5 synthesis.steps=2`. Numbers are finite.

This page is written by `recipes/make_reference.py` from the docstrings in `fastdfkd/recipe/`.
"""

TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text", dict: "mapping"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
LARGEST = {2**31: "2^31", 2**32: "2^32"}


def page() -> str:
    """The whole page."""
    values = [name for name in Recipe.model_fields if not _section(name)]
    parts = [HEAD, *_table("Top level", Recipe, values)]
    for name in Recipe.model_fields:
        section = _section(name)
        if section is SynthesisSection:
            parts += _methods(name)
        elif section:
            parts += _table(f"`{name}`", section, section.model_fields)
    return "\n".join(parts)


def _section(name: str) -> type[Section] | None:
    """The section that a key of the recipe holds; None where it is a value."""
    found = Recipe.model_fields[name].annotation
    return found if isinstance(found, type) and issubclass(found, Section) else None


def _methods(name: str) -> Iterator[str]:
    """The keys of all methods, then those of each method."""
    shared = SynthesisSection.model_fields
    yield from _table(f"`{name}`: every method", SynthesisSection, shared)
    for method, section in METHODS.items():
        title = f"`{name}`: `method: {method}`" + " (the default)" * (section is DefaultMethod)
        own = (key for key in section.model_fields if key not in shared)
        yield from _table(title, section, own)


def _table(title: str, section: type[Section], keys: Iterable[str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{_line(section.__doc__)}\n"
    yield "| key | type | default | range | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for key in keys:
        field = section.model_fields[key]
        cells = f"`{key}`", _type(field.annotation), _default(field), _range(field)
        yield f"| {' | '.join(cells)} | {_line(field.description)} |"
    yield ""


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_type, get_args(annotation)))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if origin is Annotated:
        return _type(get_args(annotation)[0])
    return "null" if annotation is type(None) else TYPES[origin or annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    text = field.default if isinstance(field.default, str) else json.dumps(field.default)
    return f"`{text}`" if text else "empty"


def _range(field: FieldInfo) -> str:
    return ", ".join(
        f"{word} {LARGEST.get(end, end)}"
        for bound, word in BOUNDS.items()
        for end in _constraints([*field.metadata, *get_args(field.annotation)], bound)
    )


def _constraints(metadata: Iterable[Any], bound: str) -> Iterator[Any]:
    """Values of a bound, also in what `Annotated` and `Field` hold inside each other."""
    for each in metadata:
        if hasattr(each, bound):
            yield getattr(each, bound)
        inner = getattr(each, "__metadata__", getattr(each, "metadata", ()))
        yield from _constraints(inner, bound)


def _line(docstring: str | None) -> str:
    """A docstring on one line of a table."""
    assert docstring, "every section and every key has a docstring"
    return " ".join(docstring.split()).replace("|", "\\|")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
