"""Short names of recipes and trials, from the keys that differ: `steps=5 meta_lr=0.015`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastdfkd.text.safe_text import printable


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Shorten dotted keys to their last part where that is unique: `synthesis.steps` to `steps`."""
    last = [key.rpartition(".")[2] for key in keys]
    return {k: word if last.count(word) == 1 else k for k, word in zip(keys, last, strict=True)}


def value_text(value: Any) -> str:
    """A value as text for a name: floats with four digits; `null`, `true`, `false` as in YAML."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return printable(value)


def by_what_varies(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each of several flat recipes by the keys that all of them have and that differ."""
    shared = [key for key in settings[0] if all(key in other for other in settings)]
    keys = [key for key in shared if any(s[key] != settings[0][key] for s in settings)]
    names = short_keys(keys)
    return [" ".join(f"{names[k]}={_exact(k, s, settings)}" for k in keys) for s in settings]


def _exact(key: str, mine: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> str:
    """The value as text; with all digits if four do not distinguish it from another recipe's."""
    value, text = mine[key], value_text(mine[key])
    alike = any(other[key] != value and value_text(other[key]) == text for other in settings)
    return repr(value) if alike else text
