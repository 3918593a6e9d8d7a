from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.tuning.plan import remaining
from fastdfkd.tuning.point_recipes import PointRecipes
from fastdfkd.tuning.recipe_sweep import recipe_sweep
from fastdfkd.tuning.trial_log import TrialLog


def test_a_point_names_a_recipe_or_changes_the_base(small: Recipe) -> None:
    dafl = load_recipe("digits-dafl")
    recipes = PointRecipes(small, {"other": dafl})
    assert recipes.at({"synthesis.steps": 7}).synthesis.steps_per_batch == 7
    assert recipes.at({"recipe": "other"}) == dafl
    changed = recipes.at({"recipe": "other", "synthesis.rounds": 3}, {"seed": 5})
    assert (changed.synthesis.method, changed.synthesis.rounds, changed.seed) == ("dafl", 3, 5)
    renamed = recipes.each(lambda recipe: load_recipe(recipe, {"name": "new"}))
    assert {renamed.base.name, renamed.at({"recipe": "other"}).name} == {"new"}


def test_a_sweep_over_recipes_has_a_point_for_each(tmp_path: Path, small: Recipe) -> None:
    recipes = {"a": small, "b": load_recipe("digits-dafl")}
    sweep = recipe_sweep(recipes, 2, tmp_path / "sweep")
    assert sweep.points == [{"recipe": "a"}, {"recipe": "b"}]
    assert (sweep.trials, sweep.seeds, sweep.options.objective) == (4, [0, 1], "accuracy")
    assert [sweep.recipes.at(point) for point in sweep.points] == list(recipes.values())
    assert sweep.names.trial({"recipe": "b"}, 1) == "recipe=b seed=1"
    assert len(remaining(sweep, [])) == 4


def test_a_sweep_over_recipes_keeps_the_mlflow_run_that_it_had(
    tmp_path: Path, small: Recipe
) -> None:
    sweep = recipe_sweep({"a": small}, 1, tmp_path)
    TrialLog(tmp_path).save_options(replace(sweep.options, parent_run_id="1234"))
    assert recipe_sweep({"a": small}, 1, tmp_path).options.parent_run_id == "1234"
