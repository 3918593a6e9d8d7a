"""Writes the tables of keys into docs/recipes.md, between two marks.

    .venv/bin/python docs/make_recipe_keys.py

Keys, ranges, defaults and descriptions come from the sections of the recipe: a key is described
in its docstring there and nowhere else.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fastdfkd.recipe import Recipe
from fastdfkd.recipe.messages import sections_of

PAGE = Path(__file__).with_name("recipes.md")
BEGIN = "<!-- begin: python docs/make_recipe_keys.py -->"
END = "<!-- end: python docs/make_recipe_keys.py -->"
TYPES = {int: "whole number", float: "number", bool: "true, false", str: "text", dict: "mapping"}
LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
OF_THE_TYPE = (2**31, 2**32)
"""Upper limits that every whole number has. They are not shown."""

Section = type[BaseModel]
Fields = dict[str, FieldInfo]


def main() -> None:
    """Rewrite the part of the page between the marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + block() + rest.split(END)[1], encoding="utf-8")


def block() -> str:
    """The generated part of the page, marks included."""
    fields = Recipe.model_fields
    plain = {name: field for name, field in fields.items() if not sections(name)}
    texts = [_table("Top level", Recipe, plain)]
    for name in fields:
        texts += _tables(name, sections(name))
    return "\n\n".join([BEGIN, *texts, END])


def sections(name: str) -> list[Section]:
    """The sections that a key of the recipe may hold; none where it is a plain value."""
    return sections_of(Recipe, name)


def _tables(name: str, kinds: list[Section]) -> Iterator[str]:
    """One table; where there are several methods one of shared keys, then one for each method."""
    if len(kinds) == 1:
        yield _table(f"`{name}`", kinds[0], kinds[0].model_fields)
    if len(kinds) < 2:
        return
    tables = [_rows(kind.model_fields) for kind in kinds]
    shared = {row for row in tables[0] if all(row in rows for rows in tables)}
    common = {key: field for key, field in kinds[0].model_fields.items() if _in(key, shared)}
    yield _table(f"`{name}`, every method", None, common)
    for kind in kinds:
        own = {key: field for key, field in kind.model_fields.items() if not _in(key, shared)}
        method = own.pop("method").annotation
        yield _table(f"`{name}`, `method: {get_args(method)[0]}`", kind, own)


def _in(key: str, rows: set[str]) -> bool:
    return any(row.startswith(f"| `{key}` |") for row in rows)


def _table(title: str, described: Section | None, fields: Fields) -> str:
    about = [_line(described.__doc__ or ""), ""] if described and described is not Recipe else []
    heads = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([f"### {title}", "", *about, *heads, *_rows(fields)])


def _rows(fields: Fields) -> list[str]:
    return [
        f"| `{key}` | {_values(field.annotation, field.metadata)} | {_default(field)} "
        f"| {_line(field.description or '')} |"
        for key, field in fields.items()
    ]


def _values(annotation: Any, metadata: list[Any]) -> str:
    """What a key takes: `whole number ≥ 1 or null`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _values(inner, [*more, *metadata])
    if origin in (Union, types.UnionType):
        return " or ".join(_values(member, metadata) for member in get_args(annotation))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if annotation is type(None):
        return "null"
    if origin is tuple:
        member, *more = get_args(annotation)
        count = "" if Ellipsis in more else f"{len(more) + 1} of: "
        return f"list of {count}{_values(member, [])}"
    flat = [
        each for entry in metadata for each in getattr(entry, "metadata", None) or [entry]
    ]  # a Field inside Annotated holds its limits in a list of its own
    limits = [
        f"{sign} {getattr(entry, name):g}"
        for entry in flat
        for name, sign in LIMITS.items()
        if getattr(entry, name, None) not in (None, *OF_THE_TYPE)
    ]
    return f"{TYPES[origin or annotation]} {', '.join(limits)}".strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, str):
        return f"`{field.default}`" if field.default else "empty"
    return f"`{json.dumps(field.default)}`"


def _line(text: str) -> str:
    """A docstring as one line of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
