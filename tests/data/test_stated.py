"""What the images are: the data source's statement, completed by the recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data import DATASETS, Stated, complete_spec
from fastdfkd.recipe import InputSection, RecipeError

NOTHING = Stated(name="none")
WHOLE: dict[str, Any] = {"shape": (3, 50, 30), "classes": 9, "normalisation": "half"}


def test_a_named_data_set_says_all() -> None:
    digits = DATASETS["digits"][0]
    assert complete_spec(digits, InputSection()) == digits


def test_what_the_recipe_says_wins() -> None:
    found = complete_spec(
        DATASETS["digits"][0],
        InputSection(normalisation="half", classes=tuple("abcdefghij")),
    )
    assert (found.mean, found.std) == ((0.5,), (0.5,))
    assert found.class_names == tuple("abcdefghij")
    assert found.shape == (1, 16, 16)


def test_without_data_the_recipe_says_all() -> None:
    assert complete_spec(NOTHING, InputSection(**WHOLE)) == ImageSpec(
        name="none", shape=(3, 50, 30), num_classes=9, mean=(0.5,) * 3, std=(0.5,) * 3
    )
    named = complete_spec(NOTHING, InputSection(**{**WHOLE, "classes": ("cat", "dog")}))
    assert (named.num_classes, named.class_names) == (2, ("cat", "dog"))


@pytest.mark.parametrize("key", ["shape", "classes", "normalisation"])
def test_what_nobody_says_is_asked_for(key: str) -> None:
    rest = {name: value for name, value in WHOLE.items() if name != key}
    with pytest.raises(RecipeError, match=f"input.{key}: is required with data.name: none"):
        complete_spec(NOTHING, InputSection(**rest))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("digits", {"classes": 9}, "9 classes, but digits has 10"),
        ("digits", {"classes": ("a", "b")}, "2 classes, but digits has 10"),
        ("digits", {"shape": (1, 28, 28)}, r"\[1, 28, 28\], but the images of digits are"),
        ("digits", {"normalisation": "imagenet"}, "expected 1 number,.*imagenet has 3"),
        ("cifar10", {"mean": (0.5,) * 2, "std": (0.5,) * 2}, "input.mean: expected 3 .*got 2"),
    ],
)
def test_contradictions_are_named(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        complete_spec(DATASETS[name][0], InputSection(**changes))


def test_the_task_is_the_data_sets_or_the_recipes() -> None:
    silent = Stated(name="mine", shape=(3, 8, 8), num_classes=2, mean=(0.5,) * 3, std=(0.5,) * 3)
    maps = replace(silent, task="segmentation")
    stated = complete_spec(DATASETS["scenes"][0], InputSection())
    assert stated.task == "segmentation"
    assert complete_spec(silent, InputSection()).task == "classification"
    assert complete_spec(silent, InputSection(task="segmentation")).task == "segmentation"
    assert complete_spec(maps, InputSection(task="segmentation")).task == "segmentation"
    assert complete_spec(maps, InputSection()).task == "segmentation"
    with pytest.raises(RecipeError, match=r"input\.task: classification, but mine is for segm"):
        complete_spec(maps, InputSection(task="classification"))
