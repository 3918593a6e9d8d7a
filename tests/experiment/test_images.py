"""What the images of an experiment are, and values by class."""

from __future__ import annotations

import math

import pytest

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.experiment import by_class, check_method, real_images, student_spec
from fastdfkd.recipe import RecipeError, load_recipe

SHAPE = {"input.shape": [1, 16, 16], "input.classes": 10}


def spec(names: tuple[str, ...] = ()) -> ImageSpec:
    return ImageSpec(
        name="x", shape=(1, 8, 8), num_classes=3, class_names=names, mean=(0.5,), std=(0.5,)
    )


def test_values_by_class() -> None:
    values = (0.5, math.nan, 0.25)
    assert by_class(spec(("a", "b", "c")), values) == {"a": 0.5, "b": None, "c": 0.25}
    assert by_class(spec(), values) == {"0": 0.5, "1": None, "2": 0.25}
    assert by_class(spec(("a", "a", "c")), values) == {"0": 0.5, "1": None, "2": 0.25}
    assert by_class(spec(), ()) == {}


def test_methods_that_do_not_fit_the_task_are_refused() -> None:
    nayer = load_recipe("digits-nayer", {"data.name": "scenes"})
    with pytest.raises(RecipeError, match=r"nayer with codes: classes needs one class for each im"):
        check_method(nayer)
    check_method(load_recipe(nayer, {"synthesis.codes": "noise"}))
    check_method(load_recipe("digits-nayer"))
    check_method(load_recipe("scenes-fast5"))


def test_students_of_maps_read_the_teachers_size() -> None:
    assert student_spec(load_recipe("scenes-fast5", {"student.size": 32})).shape == (3, 32, 32)
    with pytest.raises(RecipeError, match=r"student.size: \[16, 16\], but segmentation compares"):
        student_spec(load_recipe("scenes-fast5", {"student.size": 16}))


@pytest.mark.parametrize("name", ["none", "digits"])
def test_a_root_for_data_without_files_is_refused(name: str) -> None:
    recipe = load_recipe("digits-fast5", {"data.name": name, **SHAPE})
    with pytest.raises(RecipeError, match=rf"at photos .* data\.name: {name}, .*root=photos"):
        real_images(recipe, "photos")
