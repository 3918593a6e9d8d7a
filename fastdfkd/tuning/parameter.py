"""One recipe key that a sweep varies: its values, how they are drawn, and when it applies."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fastdfkd.recipe import unknown
from fastdfkd.text.shown import shown

Point = dict[str, Any]
"""Values of the varied recipe keys, `{"synthesis.steps": 2}`."""
Kind = Literal["choice", "uniform", "loguniform", "randint"]

_KINDS: tuple[Kind, ...] = ("choice", "uniform", "loguniform", "randint")
_MAX_GRID_VALUES = 20


class SpaceError(ValueError):
    """A search space is not valid. The message names the key, the value found and the remedy."""


@dataclass(frozen=True)
class Parameter:
    """A recipe key and the values that it may take."""

    key: str
    kind: Kind
    values: tuple[Any, ...]
    """All choices, or both ends of a range (inclusive)."""
    q: int = 1
    """Step of `randint`."""
    grid: int | None = None
    """Number of values that a grid takes from a range."""
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Condition: other keys and their allowed values. All of them must match."""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition is met by `values` (dotted key to value)."""
        return all(key in values and values[key] in allowed for key, allowed in self.when.items())

    def contains(self, value: Any) -> bool:
        """Whether the value is one of the choices, or within the range."""
        if self.kind == "choice":
            return value in self.values
        low, high = self.values
        return _is_number(value) and bool(low <= value <= high)

    def boundary_values(self) -> tuple[Any, ...]:
        """Every choice, or both ends of the range."""
        if self.kind == "randint":
            return self.values[0], self._last()
        return self.values

    def draw(self, source: random.Random) -> Any:
        """Draw a random value."""
        if self.kind == "choice":
            return source.choice(self.values)
        low, high = self.values
        if self.kind == "randint":
            return source.randrange(low, high + 1, self.q)
        if self.kind == "uniform":
            return source.uniform(low, high)
        return min(max(math.exp(source.uniform(math.log(low), math.log(high))), low), high)

    def suggest(self, trial: Any) -> Any:
        """Let an Optuna trial suggest a value."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, list(self.values))
        low, high = self.values
        if self.kind == "randint":
            return trial.suggest_int(self.key, low, self._last(), step=self.q)
        return trial.suggest_float(self.key, low, high, log=self.kind == "loguniform")

    def grid_values(self) -> list[Any]:
        """The values that a grid search tries.

        Raises:
            SpaceError: `grid` is missing for a `uniform` or `loguniform` range, or for a `randint`
                range of more than 20 values.
        """
        if self.kind == "choice":
            return list(self.values)
        low, high = self.values
        if self.kind == "randint" and self.grid is None:
            integers = list(range(low, high + 1, self.q))
            if len(integers) <= _MAX_GRID_VALUES:
                return integers
        if self.grid is None:
            raise SpaceError(
                f"{self.key}: a grid needs the number of values to take from the {self.kind} "
                "range: add `grid: 4`, or use --search random"
            )
        fractions = [step / (self.grid - 1) for step in range(self.grid)]
        if self.kind == "loguniform":
            return [low * (high / low) ** fraction for fraction in fractions[:-1]] + [high]
        spaced = [low + (high - low) * fraction for fraction in fractions]
        if self.kind == "uniform":
            return spaced
        return sorted({low + round((value - low) / self.q) * self.q for value in spaced})

    def _last(self) -> int:
        low, high = self.values
        return int(low + (high - low) // self.q * self.q)


def parse_parameter(key: str, entry: Any) -> Parameter:
    """Read the entry of one key in a space file.

    Raises:
        SpaceError: the entry has no kind, several kinds, unknown keys, or values that are not
            valid.
    """
    if not isinstance(entry, dict):
        raise SpaceError(
            f"{key}: expected one of {', '.join(_KINDS)} with values, got {shown(entry)}"
        )
    for name in map(str, entry):
        if name not in (*_KINDS, "q", "grid", "when"):
            raise SpaceError(f"{key}: {unknown(name, name, [*_KINDS, 'q', 'grid', 'when'])}")
    kinds = [kind for kind in _KINDS if kind in entry]
    if len(kinds) != 1:
        raise SpaceError(f"{key}: expected exactly one of {', '.join(_KINDS)}, got {kinds or None}")
    kind = kinds[0]
    values = entry[kind]
    if kind == "choice":
        _check_choices(key, values)
    else:
        _check_range(key, kind, values)
    return Parameter(
        key=key,
        kind=kind,
        values=tuple(values),
        q=_integer(key, "q", entry, allowed=(kind == "randint"), minimum=1) or 1,
        grid=_integer(key, "grid", entry, allowed=(kind != "choice"), minimum=2),
        when=_conditions(key, entry.get("when", {})),
    )


def _check_choices(key: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise SpaceError(f"{key}: choice: expected a list of values, got {shown(values)}")
    if any(isinstance(value, dict | list) for value in values):
        raise SpaceError(f"{key}: choice: expected plain values, got {shown(values)}")
    if len({(type(value), value) for value in values}) < len(values):
        raise SpaceError(f"{key}: choice: a value is listed twice: {shown(values)}")


def _check_range(key: str, kind: Kind, values: Any) -> None:
    if not isinstance(values, list) or len(values) != 2 or not all(map(_is_number, values)):
        raise SpaceError(
            f"{key}: {kind}: expected [lowest, highest] as numbers, got {shown(values)}"
        )
    low, high = values
    if kind == "randint" and not all(isinstance(value, int) for value in values):
        raise SpaceError(f"{key}: randint: expected whole numbers, got {shown(values)}")
    if not low < high:
        raise SpaceError(f"{key}: {kind}: expected the lowest value first, got {shown(values)}")
    if kind == "loguniform" and low <= 0:
        raise SpaceError(f"{key}: loguniform: expected numbers above 0, got {shown(values)}")


def _conditions(key: str, conditions: Any) -> dict[str, list[Any]]:
    if not isinstance(conditions, dict):
        raise SpaceError(f"{key}: when: expected `other.key: value`, got {shown(conditions)}")
    return {
        str(other): allowed if isinstance(allowed, list) else [allowed]
        for other, allowed in conditions.items()
    }


def _integer(key: str, name: str, entry: Any, *, allowed: bool, minimum: int) -> int | None:
    value = entry.get(name)
    if value is None:
        return None
    if not allowed:
        raise SpaceError(f"{key}: {name} has no meaning here: remove it")
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise SpaceError(
            f"{key}: {name}: expected a whole number at least {minimum}, got {shown(value)}"
        )
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
