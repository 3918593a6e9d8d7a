"""The recipe of each point of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.tuning.parameter import Point

RECIPE = "recipe"
"""Key of a point that names the recipe which its other values change."""


@dataclass(frozen=True)
class PointRecipes:
    """The recipes that the points of a sweep change."""

    base: Recipe
    """Recipe of the points that name none."""
    named: Mapping[str, Recipe] = field(default_factory=dict)
    """Recipes that points name, by these names."""

    def at(self, point: Point, changes: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe of a point.

        Args:
            point: of the sweep.
            changes: further values by dotted key; they win.

        Raises:
            RecipeError: the point's values are not valid with its recipe.
        """
        values = {**point, **(changes or {})}
        name = values.pop(RECIPE, None)
        return load_recipe(self.base if name is None else self.named[name], values)

    def each(self, change: Callable[[Recipe], Recipe]) -> PointRecipes:
        """The same recipes after `change`."""
        changed = {name: change(recipe) for name, recipe in self.named.items()}
        return PointRecipes(change(self.base), changed)
