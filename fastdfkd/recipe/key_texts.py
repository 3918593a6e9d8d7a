"""What is known of each key of a recipe: values, default and meaning, as text.

They come from the sections: a key is described in its docstring there and nowhere else.
`docs/recipes.md` and `fastdfkd recipes KEY` show the same texts.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fastdfkd.recipe.messages import RecipeError, nearest, sections_of
from fastdfkd.recipe.whole import Recipe
from fastdfkd.text.shown import shown_name

_TYPES = {
    int: "whole number",
    float: "number",
    bool: "true, false",
    str: "text",
    dict: "mapping",
    list: "list",
}
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_OF_THE_TYPE = (2**31, 2**32)
"""Upper limits that every whole number has. They are not shown."""


@dataclass(frozen=True)
class KeyText:
    """One key of a section. Two methods have the same key if these texts are equal."""

    name: str
    """Without the name of the section."""
    values: str
    """What it takes: `whole number ≥ 1 or null`. Literal words are in backticks."""
    default: str
    """In backticks as YAML, or `required`, or `empty`."""
    meaning: str
    """In Markdown, one line."""

    @property
    def words(self) -> list[str]:
        """The words among its values."""
        plain = [
            word for word in ("true", "false", "null") if re.search(rf"\b{word}\b", self.values)
        ]
        return [*re.findall(r"`([^`]+)`", self.values), *plain]


@dataclass(frozen=True)
class SectionText:
    """Keys of a section, or what the sections of all methods share."""

    name: str
    """Key of the section in a recipe; empty for the keys at the top level."""
    method: str
    """The method whose own keys these are; empty for keys of every recipe."""
    meaning: str
    """One line; empty for shared keys."""
    keys: tuple[KeyText, ...]


def section_texts() -> list[SectionText]:
    """All keys in the order of the sections. Keys that every method has come before the others."""
    plain = [name for name in Recipe.model_fields if not sections_of(Recipe, name)]
    texts = [SectionText("", "", "", tuple(_key_text(Recipe, name) for name in plain))]
    for name in Recipe.model_fields:
        texts += _of_section(name, sections_of(Recipe, name))
    return texts


def _of_section(name: str, kinds: list[type[BaseModel]]) -> Iterator[SectionText]:
    keys = [[_key_text(kind, key) for key in kind.model_fields] for kind in kinds]
    if len(kinds) == 1:
        yield SectionText(name, "", one_line(kinds[0].__doc__ or ""), tuple(keys[0]))
    if len(kinds) < 2:
        return
    shared = [key for key in keys[0] if all(key in others for others in keys)]
    yield SectionText(name, "", "", tuple(shared))
    for kind, own in zip(kinds, keys, strict=True):
        method = get_args(kind.model_fields["method"].annotation)[0]
        rest = tuple(key for key in own if key not in shared and key.name != "method")
        yield SectionText(name, method, one_line(kind.__doc__ or ""), rest)


def find_keys(path: str) -> list[tuple[SectionText, tuple[KeyText, ...]]]:
    """The keys that a dotted path names, with their sections.

    Args:
        path: `seed`, `synthesis` (all keys of a section) or `synthesis.steps` (of each method that
            has it).

    Raises:
        RecipeError: there is no such key. The message names the nearest one.
    """
    section, _, key = path.partition(".")
    found = []
    for text in section_texts():
        if text.name == section and not key:
            found.append((text, text.keys))
        named = section if not text.name else key if text.name == section else None
        matching = tuple(each for each in text.keys if each.name == named)
        if matching:
            found.append((text, matching))
    if not found:
        close = nearest(path, key_paths())
        hint = f": did you mean {close}?" if close else "."
        sections = ", ".join(dict.fromkeys(text.name for text in section_texts() if text.name))
        raise RecipeError(
            f"no key {shown_name(path)}{hint} `fastdfkd recipes SECTION` lists the keys of a "
            f"section: {sections}"
        )
    return found


def key_paths() -> list[str]:
    """Every key as a dotted path, each once, in the order of the sections."""
    paths = [
        f"{text.name}.{key.name}" if text.name else key.name
        for text in section_texts()
        for key in text.keys
    ]
    return list(dict.fromkeys(paths))


def one_line(text: str) -> str:
    """A docstring as one line."""
    return " ".join(text.split())


def _key_text(section: type[BaseModel], name: str) -> KeyText:
    field = section.model_fields[name]
    values = _values(field.annotation, field.metadata)
    return KeyText(name, values, _default(field), one_line(field.description or ""))


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
        for name, sign in _LIMITS.items()
        if getattr(entry, name, None) not in (None, *_OF_THE_TYPE)
    ]
    return f"{_TYPES[origin or annotation]} {', '.join(limits)}".strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, str):
        return f"`{field.default}`" if field.default else "empty"
    return f"`{json.dumps(field.default)}`"
