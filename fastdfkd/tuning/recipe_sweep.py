"""A sweep over whole recipes instead of a space: its points are the recipes' names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastdfkd.experiment import compared_by
from fastdfkd.recipe import Recipe
from fastdfkd.tuning.parameter import Parameter
from fastdfkd.tuning.plan import Sweep
from fastdfkd.tuning.point_recipes import RECIPE
from fastdfkd.tuning.search_space import SearchSpace
from fastdfkd.tuning.trial_log import Options, TrialLog


def recipe_sweep(recipes: Mapping[str, Recipe], seeds: int, folder: Path) -> Sweep:
    """A sweep over recipes, each with the same seeds. It continues what the folder holds.

    Args:
        recipes: by name, with the same data and teacher, in the same order at every call for a
            folder. The first one's seed and numbers after it are the seeds.
        seeds: number of seeds.
        folder: of the sweep; created if it does not exist.

    Raises:
        ValueError: the folder holds a damaged sweep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, names, log = next(iter(recipes.values())), tuple(recipes), TrialLog(folder)
    options = Options(
        search="grid",
        scheduler="fifo",
        objective=compared_by(first),
        trials=len(names),
        seeds=seeds,
    )
    if (folder / "sweep.json").exists():
        options = log.options()
    space = SearchSpace("recipes", (Parameter(RECIPE, "choice", names),))
    points = [{RECIPE: name} for name in names]
    return Sweep(first, space, options, points, folder, dict(recipes))
