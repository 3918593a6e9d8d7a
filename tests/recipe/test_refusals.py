"""Recipes that are refused, and the error messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.recipe import Recipe, RecipeError, load_recipe

ReadRecipe = Callable[..., Recipe]


def refusal(read: ReadRecipe, *overrides: str, more: str = "") -> str:
    with pytest.raises(RecipeError) as caught:
        read(more, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("synthesis.stesp=2", ["synthesis.stesp: unknown key", "did you mean steps?", "rounds"]),
        (
            "synthesis={method: dafl, rounds: 9, steps: 2}",
            ["synthesis.steps: unknown key for this method, known to fast, deep_inversion, cmi"],
        ),
        ("sythesis.steps=2", ["sythesis: unknown key", "did you mean synthesis?"]),
        ("lr_g=1", ["lr_g: unknown key", "did you mean synthesis.lr_g?"]),
        ("synthesis.fast=1", ["synthesis.fast: unknown key"]),
        ("data.path=x", ["data.path: unknown key", "allowed: arguments, broken_share"]),
        (
            "synthesis.method=deep_invertion",
            ["synthesis.method", "fast, deep_inversion", "mean deep_"],
        ),
        (
            "synthesis.meta=fomal",
            ["synthesis.meta", "fomaml, reptile, sequential, none", "'fomal'"],
        ),
        ("platform.schedule=lock-step", ["platform.schedule", "did you mean lockstep?"]),
        ("synthesis.steps=many", ["synthesis.steps: expected a whole number, got 'many'"]),
        ("synthesis.steps=2.5", ["synthesis.steps: expected a whole number, got 2.5"]),
        ("synthesis.steps=true", ["synthesis.steps: expected a number, got true"]),
        ("synthesis.lr_g=false", ["synthesis.lr_g: expected a number, got false"]),
        ("teacher.flip=2", ["teacher.flip: expected true or false, got 2"]),
        ("data.name=3", ["data.name: expected text, got 3"]),
        ("synthesis=5", ["synthesis: expected a section of settings, got 5"]),
        ("platform=", ["platform: expected a section of settings, got None"]),
        ("synthesis.steps=0", ["synthesis.steps: expected a number at least 1, got 0"]),
        ("synthesis.lr_z=0", ["synthesis.lr_z: expected a number above 0", "got 0"]),
        ("synthesis.bn_momentum=1", ["synthesis.bn_momentum: expected a number below 1", "got 1"]),
        ("synthesis.bn=aut", ["synthesis.bn: expected a number or auto, got 'aut'"]),
        ("teacher.output_slice=[3,3]", ["output_slice is [start, stop] with start below stop"]),
        ("teacher.output_slice=[1]", ["teacher.output_slice"]),
        ("synthesis.patch_drop=1", ["synthesis.patch_drop: expected a number below 1"]),
        ("synthesis.bn=-1", ["synthesis.bn: expected a number at least 0", "got -1"]),
        ("distillation.lr=.inf", ["distillation.lr: expected a finite number, got inf"]),
        ("platform.gpus_per_worker=.inf", ["platform.gpus_per_worker: expected a finite number"]),
        (
            "distillation.momentum=.nan",
            ["distillation.momentum: expected a finite number, got nan"],
        ),
        ("synthesis.rounds=2147483648", ["synthesis.rounds: expected a number below 2147483648"]),
        ("seed=4294967296", ["seed: expected a number below 4294967296"]),
        ("name=a/b", ["name: expected text like", "got 'a/b'"]),
        ("synthesis.warmup_rounds=220", ["synthesis: warmup_rounds (220)", "rounds (220)"]),
        ("bank.capacity=255", ["bank.capacity (255)", "synthesis.batch_size is 256"]),
        (
            "distillation.warmup_updates=80000",
            ["distillation.warmup_updates (80000)", "updates in all (80000)"],
        ),
        ("platform.workers=3", ["distillation.batch_size (256)", "platform.workers (3)"]),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(
    read: ReadRecipe, override: str, parts: list[str]
) -> None:
    message = refusal(read, override)
    assert "tiny.yaml" in message
    for part in parts:
        assert part in message


def test_every_finding_is_listed_at_once(read: ReadRecipe) -> None:
    message = refusal(read, "synthesis.steps=0", "seed=-1", "student.modle=x")
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == [
        "seed",
        "student.modle",
        "synthesis.steps",
    ]


def test_graphs_on_a_named_cpu_are_refused(read: ReadRecipe) -> None:
    message = refusal(read, "platform.cuda_graphs=true", "platform.device=cpu")
    assert "platform: cuda_graphs needs a GPU, and device is cpu" in message


def test_a_fast_setting_is_no_setting_of_deep_inversion(read: ReadRecipe) -> None:
    message = refusal(read, "synthesis.method=deep_inversion", "synthesis.lr_g=1e-3")
    assert "synthesis.lr_g: unknown key" in message
    assert "tv" in message
    assert "lr_z" not in message


@pytest.mark.parametrize(
    "override", ["steps", "=2", "", "synthesis.=2", ".steps=2", "synthesis..steps=2"]
)
def test_an_override_without_a_dotted_key_is_refused(read: ReadRecipe, override: str) -> None:
    assert "synthesis.steps" in refusal(read, override)


def test_an_override_that_is_not_yaml_is_named(read: ReadRecipe) -> None:
    assert "override data.root: the value '[1,' is no plain YAML" in refusal(read, "data.root=[1,")


def test_an_override_key_that_is_not_text_is_refused(minimal: Path) -> None:
    with pytest.raises(RecipeError, match="override 3: expected a dotted key"):
        load_recipe(minimal, {3: 4})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "data: is required and was not given"),
        ("- a\n- b\n", "a mapping of sections"),
        ("just words", "just words: unknown key"),
        ("name: [1, 2", "not a readable recipe"),
        ("name: " + "[" * 2000 + "]" * 2000, "not a readable recipe"),
        ("name: a\nname: b\n", "duplicate key"),
        ("name: !!python/object/apply:os.getcwd []\n", "not a readable recipe"),
        ("name: ${nothing}\n", "Interpolation key 'nothing' not found"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert part in str(caught.value)
    assert "broken.yaml" in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "picture.yaml"
    file.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RecipeError, match="not a readable recipe"):
        load_recipe(file)


@pytest.mark.parametrize(
    "name", ["digits-fats5", "recipes/digits-fast5.yml", "n" * 5000, "a\0b", ""]
)
def test_a_recipe_that_is_not_there(name: str) -> None:
    with pytest.raises(RecipeError, match="expected a YAML file or one of the names"):
        load_recipe(name)


def test_a_misspelt_shipped_name_is_corrected() -> None:
    with pytest.raises(RecipeError, match=r"did you mean digits-fast5\?"):
        load_recipe("digits-fats5")
