"""Keys that a recipe does not set are the fast ones on CUDA, and its digest is that of the file."""

from __future__ import annotations

import pytest

from fastdfkd.recipe import load_recipe
from fastdfkd.recipe.device_choices import ON_CUDA, with_cuda_choices


def test_what_is_not_set_is_chosen() -> None:
    recipe = load_recipe("cifar10-wrn-40-2-wrn-16-1-fast5")  # sets platform.precision
    chosen = with_cuda_choices(recipe)
    assert chosen.platform.precision == recipe.platform.precision == "float32"
    assert (chosen.platform.cuda_graphs, recipe.platform.cuda_graphs) == ("auto", False)
    assert (chosen.teacher.precision, recipe.teacher.precision) == ("auto", "float32")
    assert with_cuda_choices(chosen) is chosen


def test_one_key_gives_float32_without_graphs() -> None:
    changes = {"platform.cuda_graphs": False}
    plain = load_recipe("cifar10-wrn-40-2-wrn-16-1-fast5", changes)  # leaves teacher.precision open
    assert with_cuda_choices(plain) is plain
    assert (plain.platform.precision, plain.teacher.precision) == ("float32", "float32")


@pytest.mark.parametrize("key", ON_CUDA)
def test_what_is_set_stays_even_at_its_default(key: str) -> None:
    recipe = load_recipe("digits-fast5")
    plain = "float32" if key.endswith("precision") else False
    set_ = load_recipe(recipe, {key: plain})
    assert with_cuda_choices(set_).flat()[key] == plain


def test_a_written_recipe_keeps_the_choices_on_a_cpu_too() -> None:
    from omegaconf import OmegaConf

    from fastdfkd.recipe import Recipe

    chosen = with_cuda_choices(load_recipe("digits-fast5"))
    again = Recipe.model_validate(OmegaConf.to_container(OmegaConf.create(chosen.to_yaml())))
    assert again == chosen
    assert again.digest() == chosen.digest()
