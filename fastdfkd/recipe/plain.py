"""A recipe as plain nested data: flat for MLflow, escaped for OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for each leaf of a nested mapping."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def escaped(tree: Any) -> Any:
    """Escape `${` in all texts, so that OmegaConf reads them back unchanged.

    Backslashes before `${` are doubled, as OmegaConf requires.
    """
    if isinstance(tree, dict):
        return {key: escaped(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [escaped(value) for value in tree]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", tree) if isinstance(tree, str) else tree
