"""Which images a recipe's networks are judged on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.experiment import judge_of
from fastdfkd.recipe import Recipe


def test_another_root_is_looked_in(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny_recipe(data={"name": "cifar10", "root": "/nowhere"})
    with pytest.raises(ValueError, match=f"expected the folder {tmp_path}"):
        judge_of(recipe, root=tmp_path)
