"""Error messages of recipes, from pydantic's validation errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from yaml import MarkedYAMLError

from fastdfkd.recipe.methods import METHODS, SynthesisSection
from fastdfkd.text.shown import names_a_secret, reason, shown, shown_name

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model": "a section of settings",
}
"""The expected kind of value, by the first letters of pydantic's error type."""

_MOST_FINDINGS = 20
_LONGEST_WORD = 60  # characters of a name for which a nearest match is looked for


class RecipeError(ValueError):
    """A recipe cannot be used. The message names the key, the value and what is allowed."""


def explain(error: ValidationError, where: str, schema: type[BaseModel]) -> str:
    """One line for each error: the key, its value, what is allowed, the nearest match.

    Args:
        error: raised by `schema`.
        where: name of the recipe.
        schema: the class that was validated.
    """
    findings = error.errors()
    lines = [_line(finding, schema) for finding in findings[:_MOST_FINDINGS]]
    if more := len(findings) - len(lines):
        lines.append(f"... and {more:,} more")
    return "\n".join([f"{where}: the recipe cannot be used", *(f"  {line}" for line in lines)])


def _line(finding: Any, schema: type[BaseModel]) -> str:
    kind, context = finding["type"], finding.get("ctx", {})
    models, path = _walk(finding["loc"], schema)
    key = shown_name(".".join(path)) or "recipe"
    came = "***" if path and names_a_secret(path[-1]) else shown(finding["input"])
    if kind == "extra_forbidden":
        return f"{_unknown_key(key, path, models, schema)}; got {came}"
    if kind == "missing":
        return f"{key}: is required and was not given"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        options = str(context.get("expected_tags", "")).replace("'", "").split(", ")
        return f"{key}.method: {_choices(context.get('tag', 'nothing'), options)}"
    if kind == "literal_error":
        options = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key}: {_choices(finding['input'], options)}"
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"{key}: expected a number {words} {context[bound]}, got {came}"
    if kind == "value_error":
        return f"{key}: {reason(context['error'])}" if path else reason(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{key}: expected text like {context['pattern']}, got {came}"
    for start, words in _KINDS.items():
        if kind.startswith(start):
            return f"{key}: expected {words}, got {came}"
    said = shown_name(finding["msg"])
    return f"{key}: {said[0].lower()}{said[1:]}, got {came}"


def _unknown_key(
    key: str, path: Sequence[str], models: Sequence[type[BaseModel]], schema: type[BaseModel]
) -> str:
    """Message for an unknown key: with the nearest key of its section or the same key elsewhere."""
    allowed = _fields(models)
    if others := _methods_with(path):
        known = f" for this method, known to {', '.join(others)}"
        return f"{key}: unknown key{known}; allowed: {', '.join(allowed)}"
    hint = _hint(path[-1], allowed)
    if not hint:
        elsewhere = [k for k in _dotted(schema) if k.rpartition(".")[2] == path[-1]]
        hint = f", did you mean {' or '.join(elsewhere)}?" if elsewhere else ""
    return f"{key}: unknown key{hint}; allowed: {', '.join(allowed)}"


def _methods_with(path: Sequence[str]) -> list[str]:
    """The synthesis methods that have a key; empty for keys of other sections."""
    if len(path) != 2 or path[0] != "synthesis":
        return []
    return [name for name, section in METHODS.items() if path[1] in section.model_fields]


def unreadable(error: Exception) -> str:
    """The reason why YAML or OmegaConf failed, on one line, with its position if there is one."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        words = reason(error.problem or error.context or "not YAML")
        return f"{words} in line {mark.line + 1}, column {mark.column + 1}"
    return reason(error)


def unknown(key: str, name: str, allowed: Sequence[str]) -> str:
    """Message for a name that does not exist: what is allowed, and the nearest match.

    Args:
        key: what the message is about.
        name: the name that does not exist.
        allowed: the names that do.
    """
    return f"{key}: unknown{_hint(name, allowed)}; allowed: {', '.join(sorted(allowed))}"


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most similar to `name`; None if none is similar."""
    if len(name) > _LONGEST_WORD:  # the comparison takes quadratic time
        return None
    return next(iter(difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)), None)


def _choices(came: Any, options: Sequence[str]) -> str:
    return f"expected one of {', '.join(options)}, got {shown(came)}{_hint(str(came), options)}"


def _hint(name: str, options: Iterable[str]) -> str:
    close = nearest(name, options)
    return f", did you mean {close}?" if close else ""


def _walk(loc: Sequence[Any], schema: type[BaseModel]) -> tuple[list[type[BaseModel]], list[str]]:
    """The classes whose key `loc` is, and the key as the user wrote it.

    Args:
        loc: pydantic's path to a value. It contains the method's name after `synthesis`, which is
            left out of the key.
        schema: the class that was validated.
    """
    models, path = [schema], []
    for part in map(str, loc):
        tagged: list[type[BaseModel]] = [m for m in models if m is METHODS.get(part)]
        if tagged and len(models) > 1:
            models = tagged
            continue
        path.append(part)
        inner = [
            m for model in models if part in model.model_fields for m in sections_of(model, part)
        ]
        models = inner or models
    return models, path


def sections_of(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """The sections that a field can hold: one, one for each method, or none for a plain value."""
    annotation = model.model_fields[field].annotation
    options: Iterable[Any] = get_args(annotation) or (annotation,)
    if annotation is SynthesisSection:
        options = METHODS.values()
    return [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]


def _fields(models: Iterable[type[BaseModel]]) -> list[str]:
    return sorted({name for model in models for name in model.model_fields})


def _dotted(schema: type[BaseModel]) -> list[str]:
    """Dotted keys of all sections, each once."""
    sections = [
        (name, model) for name in schema.model_fields for model in sections_of(schema, name)
    ]
    return list(dict.fromkeys(f"{name}.{key}" for name, m in sections for key in m.model_fields))
