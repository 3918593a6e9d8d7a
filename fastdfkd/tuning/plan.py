"""The plan of a sweep: its points and seeds, checked before anything starts, and what remains."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastdfkd.recipe import Recipe, RecipeError, load_recipe
from fastdfkd.tuning.objective import parse_objectives
from fastdfkd.tuning.parameter import Point, SpaceError
from fastdfkd.tuning.search_space import SearchSpace
from fastdfkd.tuning.trial_log import Options, TrialRecord
from fastdfkd.tuning.trial_names import TrialNames

_DRAWS_OF_A_POINT = 100


@dataclass(frozen=True)
class Sweep:
    """A sweep that may be run: everything in it has been checked."""

    recipe: Recipe
    space: SearchSpace
    options: Options
    points: list[Point] | None
    """What will be tried, in order; None: Optuna chooses as it learns."""
    folder: Path

    @property
    def seeds(self) -> list[int]:
        """The same for every point, from the recipe's own upwards."""
        return [self.recipe.seed + number for number in range(self.options.seeds)]

    @property
    def names(self) -> TrialNames:
        """What its points and trials are called."""
        return TrialNames.of(self.space, self.options.seeds)

    @property
    def trials(self) -> int:
        """Runs in all."""
        return self.options.trials * self.options.seeds


def checked(recipe: Recipe, space: SearchSpace, options: Options, folder: Path) -> Sweep:
    """Check the options and every point of the space; return the sweep that may run.

    Raises:
        ValueError: an option or a point of the space cannot be used.
    """
    objectives = parse_objectives(options.objective)
    for name, value in (("trials", options.trials), ("seeds", options.seeds)):
        if value < 1:
            raise ValueError(f"--{name}: expected a number at least 1, got {value}")
    if len(objectives) > 1 and options.scheduler == "asha":
        raise ValueError("--scheduler asha ranks trials by one figure: name one --objective")
    if options.scheduler == "asha" and recipe.platform.evaluations < 2:
        raise ValueError(
            "--scheduler asha stops trials at an evaluation before the last: set "
            f"platform.evaluations to 2 or more, now {recipe.platform.evaluations}"
        )
    points = _points(recipe, space, options)
    if points is not None:
        options = replace(options, trials=len(points))
    return Sweep(recipe, space, options, points, folder)


def _points(recipe: Recipe, space: SearchSpace, options: Options) -> list[Point] | None:
    """Points of a grid or a random search, each tried on the recipe."""
    if options.search == "optuna":
        return None
    fixed = recipe.flat()
    if options.search == "grid":
        points = space.grid(fixed)
    else:
        points = list(_distinct(space, fixed, options.trials, recipe.seed))
    for point in points:
        try:
            load_recipe(recipe, point)
        except RecipeError as error:
            raise SpaceError(f"{space.name}: the point {point} is refused. {error}") from None
    return points


def _distinct(space: SearchSpace, fixed: dict[str, Any], count: int, seed: int) -> Iterator[Point]:
    """Up to `count` different random points; fewer where the space has no more."""
    source, seen = random.Random(seed), []
    for _ in range(count):
        for _ in range(_DRAWS_OF_A_POINT):
            point = space.resolve(lambda parameter: parameter.draw(source), fixed)
            if point not in seen:
                seen.append(point)
                yield point
                break


def remaining(sweep: Sweep, done: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Trials of a grid or random search that have not ended, seed by seed within a point."""
    assert sweep.points is not None
    ended = {(record.index, record.seed) for record in done}
    return [
        {"index": index, "seed": seed, "point": point}
        for index, point in enumerate(sweep.points)
        for seed in sweep.seeds
        if (index, seed) not in ended
    ]
