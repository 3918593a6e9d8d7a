from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.tuning.search_space import load_space
from fastdfkd.tuning.trial_names import TrialNames
from tests.hostile import HEBREW

SpaceFile = Callable[[str], Path]


def names(space: str, seeds: int, space_file: SpaceFile, recipe: Recipe) -> TrialNames:
    return TrialNames.of(load_space(space_file(space), recipe), seeds)


def test_trials_are_named_by_the_values_that_vary(small: Recipe, space_file: SpaceFile) -> None:
    space = (
        "synthesis.steps: {choice: [2, 5]}\n"
        "synthesis.meta: {choice: [fomaml]}\n"
        "synthesis.meta_lr: {loguniform: [1.0e-3, 0.1], when: {synthesis.meta: fomaml}}"
    )
    point = {"synthesis.steps": 5, "synthesis.meta": "fomaml", "synthesis.meta_lr": 0.0150004}
    one = names(space, 1, space_file, small)
    assert one.trial(point, 0) == one.point(point) == "steps=5 meta_lr=0.015"
    assert one.folder(7, point, 0) == "007-steps=5,meta_lr=0.015"
    two = names(space, 2, space_file, small)
    assert two.trial(point, 1) == "steps=5 meta_lr=0.015 seed=1"
    assert two.folder(7, point, 1) == "007-steps=5,meta_lr=0.015,seed=1"
    assert two.point({"synthesis.steps": 2}) == "steps=2", "a key that does not apply is left out"


def test_the_only_point_of_a_space_is_named_by_its_values(
    small: Recipe, space_file: SpaceFile
) -> None:
    only = names("synthesis.steps: {choice: [2]}", 1, space_file, small)
    assert only.point({"synthesis.steps": 2}) == "steps=2"


@pytest.mark.parametrize("value", ["../../x", "a\nb", "<b>", "x" * 500, HEBREW, "=1+1"])
def test_folder_names_are_safe_and_unique_for_any_value(
    value: str, small: Recipe, space_file: SpaceFile
) -> None:
    trial_names = names("student.model: {choice: [resnet8-half, resnet14]}", 2, space_file, small)
    folders = [
        trial_names.folder(index, {"student.model": text}, seed)
        for index, text in enumerate((value, value + " "))
        for seed in (0, 1)
    ]
    assert len(set(folders)) == 4
    for folder in folders:
        assert len(folder) < 150
        assert Path(folder).name == folder
        assert folder.isascii()
    assert trial_names.point({"student.model": value}).isprintable()
