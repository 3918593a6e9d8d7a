"""A recipe as plain nested data: flat for MLflow, escaped for OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping under dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def escaped(tree: Any) -> Any:
    """`${` in a text escaped the way OmegaConf reads it back, backslashes before it included."""
    if isinstance(tree, dict):
        return {key: escaped(value) for key, value in tree.items()}
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", tree) if isinstance(tree, str) else tree
