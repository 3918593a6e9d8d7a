"""Turns pydantic's findings into one message a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string_type": "text",
    "model": "a section of settings",
}
"""What to expect, by the first letters of pydantic's name for the finding."""


class RecipeError(ValueError):
    """A recipe cannot be used. The message says which key, what came, and what is allowed."""


def explain(error: ValidationError, where: str, schema: type[BaseModel]) -> str:
    """One line per finding: the key, the value that came, what is allowed, the nearest match."""
    lines = [_line(finding, schema) for finding in error.errors()]
    return "\n".join([f"{where}: the recipe cannot be used", *(f"  {line}" for line in lines)])


def _line(finding: Any, schema: type[BaseModel]) -> str:
    kind, context = finding["type"], finding.get("ctx", {})
    models, path = _walk(finding["loc"], schema)
    key = ".".join(path) or "recipe"
    if kind == "extra_forbidden":
        return f"{_unknown_key(key, path, models, schema)}; got {finding['input']!r:.60}"
    if kind == "missing":
        return f"{key}: is required and was not given"
    came = repr(finding["input"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        options = str(context.get("expected_tags", "")).replace("'", "").split(", ")
        return f"{key}.method: {_choices(str(context.get('tag', 'nothing')), options)}"
    if kind == "literal_error":
        options = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key}: {_choices(str(finding['input']), options)}"
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"{key}: expected a number {words} {context[bound]}, got {came}"
    if kind == "value_error":
        return f"{key}: {context['error']}" if path else str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{key}: expected text like {context['pattern']}, got {came}"
    for start, words in _KINDS.items():
        if kind.startswith(start):
            return f"{key}: expected {words}, got {came}"
    return f"{key}: {finding['msg'][0].lower()}{finding['msg'][1:]}, got {came}"


def _unknown_key(
    key: str, path: Sequence[str], models: Sequence[type[BaseModel]], schema: type[BaseModel]
) -> str:
    """An extra key: the nearest one of its section, or the same name in another section."""
    allowed = _fields(models)
    hint = _hint(path[-1], allowed)
    if not hint:
        elsewhere = [k for k in _dotted(schema) if k.rpartition(".")[2] == path[-1]]
        hint = f", did you mean {' or '.join(elsewhere)}?" if elsewhere else ""
    return f"{key}: unknown key{hint}; allowed: {', '.join(allowed)}"


def unknown(key: str, name: str, allowed: Sequence[str]) -> str:
    """`key` names nothing: say what is allowed and what was probably meant."""
    return f"{key}: unknown{_hint(name, allowed)}; allowed: {', '.join(sorted(allowed))}"


def _choices(came: str, options: Sequence[str]) -> str:
    return f"expected one of {', '.join(options)}, got {came!r}{_hint(came, options)}"


def _hint(name: str, options: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f", did you mean {close[0]}?" if close else ""


def _walk(loc: Sequence[Any], schema: type[BaseModel]) -> tuple[list[type[BaseModel]], list[str]]:
    """Models that own the key at `loc`, and the key as the user wrote it (union tags left out)."""
    models, path = [schema], []
    for part in map(str, loc):
        tagged = [model for model in models if _tag(model) == part]
        if tagged and len(models) > 1:
            models = tagged
            continue
        path.append(part)
        inner = [m for model in models if part in model.model_fields for m in _models(model, part)]
        models = inner or models
    return models, path


def _models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    annotation = model.model_fields[field].annotation
    options = get_args(annotation) or (annotation,)
    return [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("method")
    return get_args(field.annotation)[0] if field else None


def _fields(models: Iterable[type[BaseModel]]) -> list[str]:
    return sorted({name for model in models for name in model.model_fields})


def _dotted(schema: type[BaseModel]) -> list[str]:
    """Dotted keys of the settings in all sections, each once."""
    sections = [(name, model) for name in schema.model_fields for model in _models(schema, name)]
    return list(dict.fromkeys(f"{name}.{key}" for name, m in sections for key in m.model_fields))
