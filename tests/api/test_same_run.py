"""What a resumed run may differ in from what it began as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdfkd.api.same_run import check_same_recipe, with_trained_precision
from fastdfkd.recipe import load_recipe
from fastdfkd.runs.folder import write_json

EARLIER = load_recipe("digits-fast5").flat()
FOLDER = Path("run")


@pytest.mark.parametrize("changes", [{}, {"platform.workers": 2}, {"tracking.experiment": "e"}])
def test_where_it_runs_may_have_changed(changes: dict[str, Any]) -> None:
    check_same_recipe(load_recipe("digits-fast5", changes), EARLIER, FOLDER)


def test_what_was_edited_is_named() -> None:
    recipe = load_recipe("digits-fast5", {"synthesis.steps": 3, "seed": 1})
    with pytest.raises(ValueError, match=r"seed was 0 and is 1; synthesis\.steps was 5 and is 3"):
        check_same_recipe(recipe, EARLIER, FOLDER)


def test_a_key_of_a_later_version_was_at_its_default() -> None:
    earlier = {key: value for key, value in EARLIER.items() if not key.endswith("invert")}
    check_same_recipe(load_recipe("digits-fast5"), earlier, FOLDER)
    recipe = load_recipe("digits-fast5", {"distillation.invert": True})
    with pytest.raises(ValueError, match=r"distillation\.invert was False and is True"):
        check_same_recipe(recipe, earlier, FOLDER)


def test_a_resumed_runs_teacher_is_trained_as_the_first_one_was(workplace: Path) -> None:
    """`auto` may mean another precision on the machine where the run goes on."""
    recipe = load_recipe("digits-fast5", {"teacher.precision": "auto"})
    assert with_trained_precision(recipe, workplace) == recipe
    write_json(workplace / "teacher.json", {"training": {"precision": "float32"}})
    began = with_trained_precision(recipe, workplace)
    assert began.teacher == recipe.teacher.model_copy(update={"precision": "float32"})
