"""Networks of torchvision, timm and transformers, as teacher and as student: two rounds each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data import table
from fastdfkd.recipe import Recipe, load_recipe

from .families import FAMILIES, Family
from .two_rounds import distilled


def use_images(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    half = (0.5, 0.5, 0.5)
    spec = ImageSpec(name="digits", shape=(3, side, side), num_classes=10, mean=half, std=half)
    monkeypatch.setitem(table.DATASETS, "digits", (spec, lambda split, root: None))


def recipe_of(tiny: Any, role: str, family: Family, folder: Path) -> Recipe:
    model = family.model
    if family.config:
        pytest.importorskip("transformers")
        (folder / "config.json").write_text(json.dumps(family.config))
        model = f"hf:{folder}"
    if model.startswith("timm:"):
        pytest.importorskip("timm")
    other = "student" if role == "teacher" else "teacher"
    return load_recipe(
        tiny(),
        {
            f"{role}.model": model,
            f"{role}.arguments": family.arguments,
            f"{other}.model": "resnet8-half",
            "synthesis.steps": 2,
            "synthesis.generator_width": 4,
            "synthesis.latent_dim": 4,
            "synthesis.bn": family.bn if role == "teacher" else 1.0,
            "distillation.updates_per_round": 2,
            "evaluation.synthetic_images": 0,
        },
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES, ids=[family.model for family in FAMILIES])
@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_family_is_distilled(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, family: Family
) -> None:
    use_images(monkeypatch, family.side)
    recipe = recipe_of(tiny_recipe, role, family, tmp_path)
    assert distilled(recipe, tmp_path).recipe.updates == 4
