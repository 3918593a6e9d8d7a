"""A search space: the recipe keys that a sweep varies, their values and their conditions.

    space:
      synthesis.steps: {choice: [2, 5, 10]}
      synthesis.lr_g: {loguniform: [1.0e-3, 1.0e-2]}
      synthesis.rounds: {randint: [20, 60], q: 10}     # both ends included
      synthesis.reptile_scale:
        uniform: [10, 100]
        when: {synthesis.meta: reptile}                # a value or a list of values

Every choice and both ends of every range are checked with the recipe before any trial starts.
`grid: 4` sets the number of values that a grid takes from a range.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fastdfkd.recipe import Recipe, RecipeError, load_recipe, unknown
from fastdfkd.recipe.messages import unreadable
from fastdfkd.recipe.reading import recipes_folder
from fastdfkd.text.shown import shown, shown_name
from fastdfkd.tuning.parameter import Parameter, Point, SpaceError, parse_parameter

_NOT_SWEPT = {
    "name": "trials are named after their point",
    "description": "it does not change any result",
    "seed": "every point runs with the same seeds: use --seeds",
    "data": "all trials share one teacher and its data: use `fastdfkd compare` to vary them",
    "teacher": "all trials share one trained teacher: use `fastdfkd compare` to vary it",
    "tracking": "trials are recorded under the MLflow run of the sweep",
}
"""Recipe sections that a space may not contain, and the reason."""


@dataclass(frozen=True)
class SearchSpace:
    """The parameters in the order of the file; a key stands before the conditions that name it."""

    name: str
    parameters: tuple[Parameter, ...]

    def resolve(self, choose: Any, fixed: Mapping[str, Any]) -> Point:
        """Build a point from the parameters that apply.

        Args:
            choose: function from a parameter to its value.
            fixed: the recipe's values by dotted key, for conditions on keys that do not vary.
        """
        point: Point = {}
        for parameter in self.parameters:
            if parameter.applies({**fixed, **point}):
                point[parameter.key] = choose(parameter)
        return point

    def grid(self, fixed: Mapping[str, Any]) -> list[Point]:
        """Every combination of values, each once. Keys that do not apply are absent.

        Raises:
            SpaceError: a range lacks `grid`, the number of values to take.
        """
        points: list[Point] = [{}]
        for parameter in self.parameters:
            extended: list[Point] = []
            for point in points:
                if parameter.applies({**fixed, **point}):
                    values = parameter.grid_values()
                    extended += [{**point, parameter.key: value} for value in values]
                else:
                    extended.append(point)
            points = extended
        return points

    def boundary_points(self) -> Iterator[tuple[Parameter, Point]]:
        """Points that together contain every choice and both ends of every range."""
        for parameter in self.parameters:
            for value in parameter.boundary_values():
                yield parameter, {**self._conditions(parameter), parameter.key: value}

    def _conditions(self, parameter: Parameter) -> Point:
        """Values of other varied keys with which the parameter applies."""
        varied = {other.key: other for other in self.parameters}
        point: Point = {}
        for key, allowed in parameter.when.items():
            if key in varied:
                point |= {**self._conditions(varied[key]), key: allowed[0]}
        return point


def load_space(source: str | Path, recipe: Recipe) -> SearchSpace:
    """Read a space file, or a shipped one by its name, and check it with the recipe.

    Raises:
        SpaceError: the file is not readable or not valid; the message gives the key and the reason.
    """
    path = find_space(source)
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except Exception as error:  # YAML and OmegaConf raise many types for a damaged file
        raise SpaceError(f"{path}: not a readable search space: {unreadable(error)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("space"), dict) or not tree["space"]:
        raise SpaceError(f"{path}: expected a mapping `space:` of recipe keys, see recipes/sweeps/")
    extra = sorted(map(str, set(tree) - {"space", "description"}))
    if extra:
        raise SpaceError(
            f"{path}: {unknown(shown_name(extra[0]), extra[0], ['space', 'description'])}"
        )
    parameters = tuple(parse_parameter(str(key), entry) for key, entry in tree["space"].items())
    space = SearchSpace(path.stem, parameters)
    _check_conditions(space, recipe, path)
    _check_values(space, recipe, path)
    return space


def shipped_spaces() -> dict[str, str]:
    """The descriptions of the search spaces that ship with the project, by name."""
    files = _shipped_files()
    trees: dict[str, Any] = {name: OmegaConf.load(file) for name, file in files.items()}
    return {name: str(tree["description"]) for name, tree in trees.items()}


def _shipped_files() -> dict[str, Path]:
    folder = recipes_folder() / "sweeps"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"), key=lambda file: file.stem)}


def find_space(source: str | Path) -> Path:
    """The file of a space, given by its path or by the name of a shipped space.

    Raises:
        SpaceError: there is no such file or name.
    """
    path = Path(source)
    if os.path.isfile(path):  # Path.is_file raises for names that no file can have
        return path
    shipped = _shipped_files()
    if str(source) in shipped:
        return shipped[str(source)]
    raise SpaceError(
        f"no search space {shown_name(source)}: expected a YAML file or {', '.join(shipped)}"
    )


def _check_conditions(space: SearchSpace, recipe: Recipe, path: Path) -> None:
    """Check that each key may be swept and that each condition can be met."""
    known = recipe.flat()
    earlier: dict[str, Parameter] = {}
    for parameter in space.parameters:
        reason = _NOT_SWEPT.get(parameter.key.partition(".")[0])
        if reason:
            raise SpaceError(f"{path}: {parameter.key}: cannot be swept, {reason}")
        for key, allowed in parameter.when.items():
            if key not in earlier and key not in known:
                raise SpaceError(f"{path}: {parameter.key}: when: {unknown(key, key, list(known))}")
            if key in {other.key for other in space.parameters} - set(earlier):
                raise SpaceError(
                    f"{path}: {parameter.key}: `when` names {key}: put {key} before it"
                )
            if key in earlier and not all(earlier[key].contains(value) for value in allowed):
                raise SpaceError(
                    f"{path}: {parameter.key}: `when` needs {key} in {allowed}, but this space "
                    "does not contain these values"
                )
        earlier[parameter.key] = parameter


def _check_values(space: SearchSpace, recipe: Recipe, path: Path) -> None:
    """Check every choice and both ends of every range with the recipe."""
    for parameter, point in space.boundary_points():
        try:
            load_recipe(recipe, point)
        except RecipeError as error:
            value = point[parameter.key]
            raise SpaceError(
                f"{path}: {parameter.key} = {shown(value)} is not valid. {error}"
            ) from None
