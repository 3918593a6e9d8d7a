"""A search space: which recipe keys vary, over what, and under which conditions.

    space:
      synthesis.steps: {choice: [2, 5, 10]}
      synthesis.lr_g: {loguniform: [1.0e-3, 1.0e-2]}
      synthesis.rounds: {randint: [20, 60], q: 10}     # both ends included
      synthesis.reptile_scale:
        uniform: [10, 100]
        when: {synthesis.meta: reptile}                # a value or a list of values

Every choice and both ends of every range are tried on the recipe before anything starts. In a
grid, `grid: 4` says how many values of a range are taken.
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
    "name": "trials are named by their point",
    "description": "it changes no number",
    "seed": "every point is run with the same seeds: use --seeds",
    "data": "trials share one teacher and its data: use `fastdfkd compare` for other ones",
    "teacher": "trials share one trained teacher: use `fastdfkd compare` for other ones",
    "tracking": "trials are recorded under the sweep's run",
}


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions in the order of the file, parents of conditions first."""

    name: str
    parameters: tuple[Parameter, ...]

    def resolve(self, choose: Any, fixed: Mapping[str, Any]) -> Point:
        """A point: `choose(parameter)` is asked for each parameter whose condition holds.

        Args:
            choose: gives the value of a parameter.
            fixed: the recipe's flat values, for conditions on keys that do not vary.
        """
        point: Point = {}
        for parameter in self.parameters:
            if parameter.holds({**fixed, **point}):
                point[parameter.key] = choose(parameter)
        return point

    def grid(self, fixed: Mapping[str, Any]) -> list[Point]:
        """Every combination, each once; conditional keys appear only where they apply.

        Raises:
            SpaceError: a range does not say how many of its values to take.
        """
        points: list[Point] = [{}]
        for parameter in self.parameters:
            grown: list[Point] = []
            for point in points:
                if parameter.holds({**fixed, **point}):
                    grown += [{**point, parameter.key: value} for value in parameter.grid_values()]
                else:
                    grown.append(point)
            points = grown
        return points

    def probes(self) -> Iterator[tuple[Parameter, Point]]:
        """Points that together show every choice and both ends of every range."""
        for parameter in self.parameters:
            for value in parameter.probes():
                yield parameter, {**self._allowing(parameter), parameter.key: value}

    def _allowing(self, parameter: Parameter) -> Point:
        """Values of varying keys under which the parameter applies."""
        varying = {other.key: other for other in self.parameters}
        point: Point = {}
        for key, allowed in parameter.when.items():
            if key in varying:
                point |= {**self._allowing(varying[key]), key: allowed[0]}
        return point


def load_space(source: str | Path, recipe: Recipe) -> SearchSpace:
    """Read a space file (or the name of one that ships) and try it on the recipe.

    Raises:
        SpaceError: the file cannot be read or used; the message says which key and why.
    """
    path = find_space(source)
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except Exception as error:  # YAML and OmegaConf raise what they like about a damaged file
        raise SpaceError(f"{path}: not a readable search space: {unreadable(error)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("space"), dict) or not tree["space"]:
        raise SpaceError(f"{path}: expected a mapping `space:` of recipe keys, see recipes/sweeps/")
    strange = sorted(map(str, set(tree) - {"space", "description"}))
    if strange:
        raise SpaceError(
            f"{path}: {unknown(shown_name(strange[0]), strange[0], ['space', 'description'])}"
        )
    parameters = tuple(parse_parameter(str(k), given) for k, given in tree["space"].items())
    space = SearchSpace(path.stem, parameters)
    _check(space, recipe, path)
    return space


def find_space(source: str | Path) -> Path:
    """The file of a space given by path or by the bare name of one that ships."""
    path = Path(source)
    if os.path.isfile(path):  # unlike Path.is_file, quiet about impossible names
        return path
    shipped = {file.stem: file for file in sorted((recipes_folder() / "sweeps").glob("*.yaml"))}
    if str(source) in shipped:
        return shipped[str(source)]
    raise SpaceError(
        f"no search space {shown_name(source)}: expected a YAML file or {', '.join(shipped)}"
    )


def _check(space: SearchSpace, recipe: Recipe, path: Path) -> None:
    known = recipe.flat()
    before: dict[str, Parameter] = {}
    for parameter in space.parameters:
        reason = _NOT_SWEPT.get(parameter.key.partition(".")[0])
        if reason:
            raise SpaceError(f"{path}: {parameter.key}: cannot be swept, {reason}")
        for key, allowed in parameter.when.items():
            if key not in before and key not in known:
                raise SpaceError(f"{path}: {parameter.key}: when: {unknown(key, key, list(known))}")
            if key in {other.key for other in space.parameters} - set(before):
                raise SpaceError(f"{path}: {parameter.key}: `when` names {key}: put that one first")
            if key in before and not all(before[key].can_be(value) for value in allowed):
                raise SpaceError(
                    f"{path}: {parameter.key}: `when` asks for {key} in {allowed}, which it never "
                    "is in this space"
                )
        before[parameter.key] = parameter
    for parameter, point in space.probes():
        try:
            load_recipe(recipe, point)
        except RecipeError as error:
            value = point[parameter.key]
            raise SpaceError(
                f"{path}: {parameter.key} = {shown(value)} is refused. {error}"
            ) from None
