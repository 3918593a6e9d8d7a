from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.recipe import Overrides, Recipe, load_recipe

MINIMAL = """\
name: tiny
data: {name: digits}
teacher: {model: resnet14}
student: {model: resnet8}
"""

ReadRecipe = Callable[..., Recipe]


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(MINIMAL, encoding="utf-8")
    return file


@pytest.fixture
def read(tmp_path: Path, minimal: Path) -> ReadRecipe:
    """Load the minimal recipe, optionally with more YAML after it and with overrides."""

    def load(more: str = "", overrides: Overrides = ()) -> Recipe:
        minimal.write_text(MINIMAL + more, encoding="utf-8")
        return load_recipe(minimal, overrides)

    return load
