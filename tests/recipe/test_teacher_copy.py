"""`student.model: teacher`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastdfkd.recipe import Recipe, RecipeError, load_recipe
from fastdfkd.recipe.teacher_copy import as_teacher

ReadRecipe = Callable[..., Recipe]


def test_it_stands_for_the_teachers_network(read: ReadRecipe) -> None:
    own = {"model": "nets.py:build", "arguments": {"depth": 3}, "positional": [1]}
    changes = {f"teacher.{key}": value for key, value in own.items()}
    copy = {"student.model": "teacher", "student.width": 0.25}
    student = read("", {**changes, **copy}).student
    assert (student.model, student.arguments, student.positional) == tuple(own.values())
    assert student.width == 0.25
    other = read("", {**changes, **copy, "student.arguments": {"depth": 2}}).student
    assert (other.arguments, other.positional) == ({"depth": 2}, [1])


def test_a_width_is_shown_beside_the_name(read: ReadRecipe) -> None:
    assert read("", {"student.model": "resnet8"}).student.shown == "resnet8"
    thinner = read("", {"student.model": "resnet8", "student.width": 0.25}).student
    assert thinner.shown == "resnet8 at 0.25 of its width"


@pytest.mark.parametrize("half", [0.5, "0.5"])
def test_widths_are_multiplied_and_a_second_reading_changes_nothing(
    read: ReadRecipe, half: float | str
) -> None:
    changes = {"teacher.width": half, "student.model": "teacher", "student.width": half}
    recipe = read("", changes)
    assert (recipe.teacher.width, recipe.student.width) == (0.5, 0.25)
    assert load_recipe(recipe) == recipe


def test_arguments_that_load_weights_are_left_out(read: ReadRecipe) -> None:
    given = {"weights": "DEFAULT", "progress": False}
    changes = {"teacher.model": "torchvision:resnet18", "teacher.arguments": given}
    recipe = read("", {**changes, "student.model": "teacher"})
    assert recipe.student.arguments == {"progress": False}
    assert recipe.teacher.arguments == given


@pytest.mark.parametrize("width", [0, 1.5, True, "thin"])
def test_a_width_is_a_share(read: ReadRecipe, width: Any) -> None:
    with pytest.raises(RecipeError, match=r"student\.width"):
        read("", {"student.model": "teacher", "student.width": width, "teacher.width": 0.5})


@pytest.mark.parametrize(
    "values", [None, {}, {"student": {"model": "teacher"}}, {"student": 1, "teacher": {}}]
)
def test_what_is_no_recipe_is_left_to_the_checks(values: Any) -> None:
    assert as_teacher(values) is values


def test_without_a_width_digests_are_those_of_before(read: ReadRecipe) -> None:
    assert read("").digest() == read("", {"student.width": 1.0, "teacher.width": 1}).digest()
    assert read("").digest() != read("", {"student.width": 0.5}).digest()
