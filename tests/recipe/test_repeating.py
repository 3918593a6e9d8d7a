from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fastdfkd.recipe import load_recipe
from fastdfkd.recipe.repeating import command_with_file, command_with_overrides


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=3", "synthesis.steps=2", "teacher.weights=my teacher.pt"],
        ["distillation.teacher_cache=null", "bank.capacity=100", "data.name=none"],
        ["student.arguments={width: 2}", "input.shape=[1,16,16]", "input.classes=10"],
    ],
)
def test_the_command_leads_to_the_same_recipe(overrides: list[str]) -> None:
    recipe = load_recipe("digits-fast5", overrides)
    command = command_with_overrides(recipe, "distill")
    assert command is not None
    program, name, shipped, *words = shlex.split(command)
    assert [program, name, shipped] == ["fastdfkd", "distill", "digits-fast5"]
    assert load_recipe(shipped, words) == recipe
    assert len(words) <= len(overrides), "a key that keeps its value is not named"


def test_a_recipe_of_ones_own_has_no_such_command() -> None:
    recipe = load_recipe("digits-fast5").model_copy(update={"name": "mine"})
    assert command_with_overrides(recipe, "distill") is None


def test_the_file_of_a_run_is_quoted() -> None:
    command = command_with_file(Path("runs/my run"), "synthesize")
    assert shlex.split(command) == [
        *("fastdfkd", "synthesize", "runs/my run/recipe.yaml", "--out", "runs/my run-again")
    ]
