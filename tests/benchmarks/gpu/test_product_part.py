"""The part `product` says what it lacks, and its command is a recipe's."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.gpu import product_part
from benchmarks.gpu.session import Budget, Look


def test_the_product_needs_the_images(tmp_path: Path) -> None:
    budget = Budget(10)
    look = Look(device=torch.device("cpu"), budget=budget, out=tmp_path, pair="")
    assert product_part.lacks_product(look) == "no folder with images was given (--images)"
    given = Look(device=torch.device("cpu"), budget=budget, out=tmp_path, pair="", images=tmp_path)
    assert "lacks cifar10_jpeg_train.zip" in product_part.lacks_product(given)
    for name in product_part.PRODUCT_FILES:
        (tmp_path / name).touch()
    assert product_part.lacks_product(given) == ""
    words = product_part.product_words(given)
    assert f"teacher.weights={tmp_path / product_part.PRODUCT_FILES[2]}" in words


def test_the_products_settings_are_a_recipe(tmp_path: Path) -> None:
    from fastdfkd.recipe import load_recipe

    for kind in ("cpu", "cuda"):
        device = torch.device(kind)
        look = Look(device=device, budget=Budget(10), out=tmp_path, pair="", images=tmp_path)
        words = product_part.product_words(look)
        overrides = [word for word in words if "=" in word]
        recipe = load_recipe(words[words.index("distill") + 1], overrides)
        assert recipe.updates == (4 if kind == "cpu" else 60_000)
