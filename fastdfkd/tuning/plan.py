"""The plan of a sweep: its points and seeds, validated before any trial starts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastdfkd.recipe import Recipe, RecipeError
from fastdfkd.tuning.objective import parse_objectives
from fastdfkd.tuning.parameter import Point, SpaceError
from fastdfkd.tuning.point_recipes import PointRecipes
from fastdfkd.tuning.search_space import SearchSpace
from fastdfkd.tuning.trial_log import Options, TrialRecord
from fastdfkd.tuning.trial_names import TrialNames

_MAX_DRAWS = 100


@dataclass(frozen=True)
class Sweep:
    """A validated sweep."""

    recipe: Recipe
    space: SearchSpace
    options: Options
    points: list[Point] | None
    """Points to try, in order; None if Optuna chooses them while the sweep runs."""
    folder: Path
    named: Mapping[str, Recipe] = field(default_factory=dict)
    """Recipes that points name; see `recipe_sweep`."""

    @property
    def recipes(self) -> PointRecipes:
        """The recipes that the points change."""
        return PointRecipes(self.recipe, self.named)

    @property
    def seeds(self) -> list[int]:
        """Seeds of every point: the recipe's seed and the numbers after it."""
        return [self.recipe.seed + number for number in range(self.options.seeds)]

    @property
    def names(self) -> TrialNames:
        """Names of the points and trials."""
        return TrialNames.of(self.space, self.options.seeds)

    def source_texts(self) -> dict[str, str]:
        """The texts of the Python files that the recipe and the space name, by path.

        Raises:
            RecipeError: one cannot be read.
        """
        texts = self.recipe.source_texts()
        for _, point in self.space.boundary_points():
            texts |= self.recipes.at(point).source_texts()
        return texts

    @property
    def trials(self) -> int:
        """Total number of trials."""
        return self.options.trials * self.options.seeds


def plan_sweep(recipe: Recipe, space: SearchSpace, options: Options, folder: Path) -> Sweep:
    """Validate the options and every point of a grid or random search.

    Raises:
        ValueError: an option or a point is not valid.
    """
    objectives = parse_objectives(options.objective)
    for name, value in (("trials", options.trials), ("seeds", options.seeds)):
        if value < 1:
            raise ValueError(f"--{name}: expected a number at least 1, got {value}")
    if len(objectives) > 1 and options.scheduler == "asha":
        raise ValueError("--scheduler asha ranks trials by one figure: give one --objective")
    if options.scheduler == "asha" and recipe.platform.evaluations < 2:
        raise ValueError(
            "--scheduler asha stops trials at an evaluation before the last one: expected "
            f"platform.evaluations of at least 2, got {recipe.platform.evaluations}"
        )
    points = _points(recipe, space, options)
    if points is not None:
        options = replace(options, trials=len(points))
    return Sweep(recipe, space, options, points, folder)


def _points(recipe: Recipe, space: SearchSpace, options: Options) -> list[Point] | None:
    """Points of a grid or random search, each checked with the recipe; None for Optuna."""
    if options.search == "optuna":
        return None
    fixed = recipe.flat()
    if options.search == "grid":
        points = space.grid(fixed)
    else:
        points = list(_random_points(space, fixed, options.trials, recipe.seed))
    for point in points:
        try:
            PointRecipes(recipe).at(point)
        except RecipeError as error:
            raise SpaceError(f"{space.name}: the point {point} is not valid. {error}") from None
    return points


def _random_points(
    space: SearchSpace, fixed: dict[str, Any], count: int, seed: int
) -> Iterator[Point]:
    """Up to `count` distinct random points; fewer if the space has fewer."""
    source, seen = random.Random(seed), []
    for _ in range(count):
        for _ in range(_MAX_DRAWS):
            point = space.resolve(lambda parameter: parameter.draw(source), fixed)
            if point not in seen:
                seen.append(point)
                yield point
                break


def remaining(sweep: Sweep, done: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Trials of a grid or random search that are not done, ordered by point, then by seed."""
    assert sweep.points is not None
    done_keys = {(record.index, record.seed) for record in done}
    return [
        {"index": index, "seed": seed, "point": point}
        for index, point in enumerate(sweep.points)
        for seed in sweep.seeds
        if (index, seed) not in done_keys
    ]
