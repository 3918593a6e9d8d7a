from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.runs.result import RunResult
from tests.export.finished_runs import bank_images, without_data, write_run


@pytest.fixture
def run(workplace: Path, make_result: Callable[..., RunResult]) -> Path:
    """A run without real images, whose student has its own normalisation and size."""
    recipe = without_data("tiny", "resnet8-half", (3, 20, 20))
    student = {"model": "resnet8-half", "size": (16, 16), "normalisation": "cifar10"}
    recipe = Recipe.model_validate({**recipe.model_dump(), "student": student})
    return write_run(workplace / "run", recipe, make_result, bank=bank_images(24, (3, 20, 20)))
