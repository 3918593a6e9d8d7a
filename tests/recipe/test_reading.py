"""Reading recipes: overrides, defaults, the round trip through YAML and the digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdfkd.recipe import DeepInversionSynthesis, FastSynthesis, Overrides, Recipe, load_recipe

ReadRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(
    "overrides",
    [
        ["synthesis.steps=2", "synthesis.lr_g=1e-3"],
        {"synthesis.steps": 2, "synthesis.lr_g": 1e-3},
        {"synthesis": {"steps": 2, "lr_g": 1e-3}},
        {"synthesis.lr_g": "1e-3", "synthesis.steps": "2"},
    ],
)
def test_overrides_in_every_form_are_the_same_recipe(
    read: ReadRecipe, overrides: Overrides
) -> None:
    recipe = read("", overrides)
    assert isinstance(recipe.synthesis, FastSynthesis)
    assert (recipe.synthesis.steps, recipe.synthesis.lr_g) == (2, 0.001)
    assert recipe == read("synthesis: {steps: 2, lr_g: 1e-3}\n")


def test_one_override_may_stand_alone(minimal: Path) -> None:
    assert load_recipe(minimal, "seed=7").seed == 7


def test_the_last_override_wins_and_null_unsets(read: ReadRecipe) -> None:
    recipe = read("bank: {capacity: 512}\n", ["seed=1", "seed=2", "bank.capacity=null"])
    assert (recipe.seed, recipe.bank.capacity) == (2, None)


@pytest.mark.parametrize("root", ["a=b", "C:\\data", "/with space/x", "ünï", "0x"])
def test_an_override_takes_paths_as_they_are(read: ReadRecipe, root: str) -> None:
    assert read("", [f"data.root={root}"]).data.root == root


def test_fast_is_the_default_method(read: ReadRecipe) -> None:
    assert read().synthesis == FastSynthesis()
    assert isinstance(read("synthesis: {rounds: 30}\n").synthesis, FastSynthesis)
    other = read("synthesis: {method: deep_inversion, rounds: 30}\n")
    assert isinstance(other.synthesis, DeepInversionSynthesis)
    assert (other.synthesis.steps, other.synthesis.lr, other.synthesis.oh) == (2000, 0.1, 1.0)


def test_an_overridden_recipe_is_a_new_one(read: ReadRecipe) -> None:
    recipe = read()
    changed = load_recipe(recipe, {"synthesis.steps": 9})
    assert (recipe.synthesis.steps, changed.synthesis.steps) == (5, 9)
    assert load_recipe(recipe) == recipe


def test_updates_are_counted_past_warm_up(read: ReadRecipe) -> None:
    assert read().updates == 200 * 400


@pytest.mark.parametrize(
    ("capacity", "kept"),
    [("null", 30 * 128), ("128", 128), ("300", 256), ("100000", 30 * 128)],
)
def test_capacity_is_whole_batches(read: ReadRecipe, capacity: str, kept: int) -> None:
    more = f"synthesis: {{rounds: 30, batch_size: 128}}\nbank: {{capacity: {capacity}}}\n"
    assert read(more).capacity == kept


def test_flat_has_every_leaf_once(read: ReadRecipe) -> None:
    flat = read().flat()
    assert flat["synthesis.lr_g"] == 0.003
    assert flat["bank.capacity"] is None
    assert not any(isinstance(value, dict) for value in flat.values())


NAMING = {"name": "other", "description": "said otherwise", "tracking.experiment": "x"}


@pytest.mark.parametrize("key", NAMING)
def test_the_digest_ignores_what_cannot_change_a_result(read: ReadRecipe, key: str) -> None:
    assert read("", {key: NAMING[key]}).digest() == read().digest()


CHANGES: dict[str, Any] = {
    "seed": 1,
    "data.name": "glyphs",
    "teacher.epochs": 3,
    "student.model": "resnet20",
    "synthesis.lr_z": 0.02,
    "distillation.temperature": 4,
    "bank.capacity": 256,
    "platform.precision": "bfloat16",
    "platform.cuda_graphs": True,
    "platform.compile": "auto",
}


def test_the_digest_tells_every_other_change_apart(read: ReadRecipe) -> None:
    digests = {read("", {key: value}).digest() for key, value in CHANGES.items()}
    assert len(digests | {read().digest()}) == len(CHANGES) + 1


def test_the_digest_does_not_depend_on_spelling(read: ReadRecipe) -> None:
    assert read("distillation: {lr: 1}\n").digest() == read("distillation: {lr: 1.0}\n").digest()


finite = st.floats(min_value=0, max_value=1e6, exclude_min=True)
text = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["${seed}", "\\${x}", "a\\\\${b", "1e-3", "null", "yes", "???", "# no comment", "a: b"]
)
fast = st.builds(
    FastSynthesis,
    steps=st.integers(1, 9999),
    lr_g=finite,
    bn_momentum=st.floats(0, 1, exclude_max=True),
    meta=st.sampled_from(["fomaml", "reptile", "sequential", "none"]),
    meta_lr=st.none() | finite,
)
deep = st.builds(DeepInversionSynthesis, method=st.just("deep_inversion"), lr=finite, tv=finite)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(synthesis=fast | deep, description=text, root=st.none() | text)
def test_yaml_reads_back_unchanged(
    tmp_path: Path, synthesis: Any, description: str, root: str | None
) -> None:
    recipe = Recipe(
        name="tiny",
        description=description,
        data={"name": "digits", "root": root},
        teacher={"model": "resnet14"},
        student={"model": "resnet8"},
        synthesis=synthesis,
    )
    file = tmp_path / "again.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(file) == recipe
    assert load_recipe(recipe, ["seed=0"]).digest() == recipe.digest()


@pytest.mark.parametrize("value", [np.int64(3), np.float64(3.0), np.array(3)])
def test_numpy_numbers_are_numbers(minimal: Path, value: Any) -> None:
    assert load_recipe(minimal, {"synthesis.steps": value}).synthesis.steps == 3
