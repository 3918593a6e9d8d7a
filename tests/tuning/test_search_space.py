from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.recipe import METHODS, Recipe, load_recipe
from fastdfkd.recipe.reading import recipes_folder
from fastdfkd.tuning.parameter import SpaceError
from fastdfkd.tuning.search_space import load_space

SpaceFile = Callable[[str], Path]
SHIPPED = sorted((recipes_folder() / "sweeps").glob("*.yaml"))


OF_A_METHOD = {name.replace("_", "-") for name in METHODS if name not in ("fast", "auto")}
"""Names of the spaces that are for one method, and of its sample recipe after `digits-`."""


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_spaces_fit_the_sample_recipes(file: Path) -> None:
    own = [f"digits-{file.stem}"] if file.stem in OF_A_METHOD else ["digits-fast5", "glyphs-fast5"]
    for recipe in own:
        base = load_recipe(recipe)
        points = load_space(file.stem, base).grid(base.flat())
        assert len({load_recipe(base, point).digest() for point in points}) == len(points)


def test_every_method_has_a_space() -> None:
    assert {file.stem for file in SHIPPED} == OF_A_METHOD | {
        "steps",
        "steps-and-meta-lr",
        "learning-rates",
        "loss-weights",
        "stage-maps",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("synthesis.stepz: {choice: [2]}", ["synthesis.stepz", "did you mean steps?"]),
        ("synthesis.steps: {choice: [2, 0]}", ["synthesis.steps = 0", "at least 1"]),
        ("synthesis.lr_g: {uniform: [-0.1, 0.1]}", ["synthesis.lr_g = -0.1", "above 0"]),
        ("synthesis.oh: {loguniform: [0, 1]}", ["synthesis.oh", "above 0", "[0, 1]"]),
        ("synthesis.oh: {uniform: [1, 0]}", ["synthesis.oh", "lowest value first"]),
        ("synthesis.oh: {uniform: [1]}", ["[lowest, highest]"]),
        ("synthesis.steps: {randint: [1, 2.5]}", ["synthesis.steps", "whole numbers"]),
        ("synthesis.steps: {randint: [1, 5], q: 0}", ["q: expected", "at least 1"]),
        ("synthesis.oh: {uniform: [0, 1], q: 2}", ["q has no meaning here"]),
        ("synthesis.steps: {choise: [2]}", ["did you mean choice?"]),
        ("synthesis.steps: {choice: [2, 2]}", ["twice"]),
        ("synthesis.steps: {choice: []}", ["a list of values"]),
        ("synthesis.steps: {choice: [2], uniform: [1, 2]}", ["exactly one of"]),
        ("synthesis.steps: [2, 5]", ["expected one of choice"]),
        ("seed: {choice: [1, 2]}", ["seed", "--seeds"]),
        ("teacher.lr: {choice: [0.1]}", ["teacher.lr", "share one trained teacher"]),
        ("synthesis.lr_g: {choice: [0.1], when: {synthesis.meat: none}}", ["synthesis.meat"]),
        (
            "synthesis.lr_g: {choice: [0.1], when: {synthesis.steps: 2}}\n"
            "synthesis.steps: {choice: [2, 5]}",
            ["put synthesis.steps before it"],
        ),
        (
            "synthesis.steps: {choice: [2, 5]}\n"
            "synthesis.lr_g: {choice: [0.1], when: {synthesis.steps: 3}}",
            ["does not contain these values"],
        ),
    ],
)
def test_the_error_for_a_bad_space_gives_key_and_reason(
    small: Recipe, space_file: SpaceFile, text: str, words: list[str]
) -> None:
    with pytest.raises(SpaceError) as refused:
        load_space(space_file(text), small)
    for word in words:
        assert word in str(refused.value)


def test_conditional_keys_appear_only_where_they_apply(
    small: Recipe, space_file: SpaceFile
) -> None:
    text = """
synthesis.meta: {choice: [fomaml, reptile, none]}
synthesis.meta_lr: {choice: [0.01, null], when: {synthesis.meta: [fomaml, reptile]}}
synthesis.reptile_scale: {uniform: [10, 90], grid: 3, when: {synthesis.meta: reptile}}
"""
    space = load_space(space_file(text), small)
    points = space.grid(small.flat())
    assert len(points) == 2 + 2 * 3 + 1
    assert {"synthesis.meta": "none"} in points
    assert [p["synthesis.reptile_scale"] for p in points if len(p) == 3][:3] == [10, 50, 90]
    source = random.Random(0)
    for _ in range(50):
        point = space.resolve(lambda parameter: parameter.draw(source), small.flat())
        assert ("synthesis.reptile_scale" in point) == (point["synthesis.meta"] == "reptile")


def test_a_condition_may_name_a_key_that_does_not_vary(
    small: Recipe, space_file: SpaceFile
) -> None:
    space = load_space(
        space_file("synthesis.lr_g: {choice: [0.1, 0.2], when: {synthesis.steps: 2}}"), small
    )
    assert len(space.grid(small.flat())) == 2
    assert space.grid({**small.flat(), "synthesis.steps": 5}) == [{}]


def test_draws_stay_in_their_range(small: Recipe, space_file: SpaceFile) -> None:
    text = """
synthesis.rounds: {randint: [10, 35], q: 10}
synthesis.lr_z: {loguniform: [1.0e-3, 0.1]}
synthesis.oh: {uniform: [0.25, 0.5]}
"""
    space = load_space(space_file(text), small)
    source = random.Random(3)
    drawn = [space.resolve(lambda p: p.draw(source), small.flat()) for _ in range(300)]
    assert {p["synthesis.rounds"] for p in drawn} == {10, 20, 30}
    small_rates = sum(p["synthesis.lr_z"] < 0.01 for p in drawn)
    assert 110 < small_rates < 190, "half of a log-uniform draw is below the geometric middle"
    assert all(0.25 <= p["synthesis.oh"] <= 0.5 for p in drawn)


def test_a_grid_over_a_range_needs_a_number(small: Recipe, space_file: SpaceFile) -> None:
    space = load_space(space_file("synthesis.oh: {uniform: [0, 1]}"), small)
    with pytest.raises(SpaceError, match=r"synthesis\.oh: a grid needs"):
        space.grid(small.flat())


def test_methods_are_swept_with_their_own_keys(
    tiny_recipe: Callable[..., Recipe], space_file: SpaceFile
) -> None:
    recipe = tiny_recipe(synthesis={"rounds": 3, "warmup_rounds": 1, "batch_size": 4})
    file = space_file(
        "synthesis.method: {choice: [fast, deep_inversion]}\n"
        "synthesis.lr_g: {choice: [0.01, 0.02], when: {synthesis.method: fast}}\n"
        "synthesis.lr: {choice: [0.1], when: {synthesis.method: deep_inversion}}"
    )
    points = load_space(file, recipe).grid(recipe.flat())
    assert [load_recipe(recipe, point).synthesis.summary for point in points] == [
        "fast, 5 steps",
        "fast, 5 steps",
        "deep_inversion, 2000 steps",
    ]
