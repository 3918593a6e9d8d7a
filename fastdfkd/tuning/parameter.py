"""One varying recipe key: its values, how they are drawn, and when it applies."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fastdfkd.recipe import unknown
from fastdfkd.text.shown import shown

Point = dict[str, Any]
"""Varying keys to their values, `{"synthesis.steps": 2}`."""
Kind = Literal["choice", "uniform", "loguniform", "randint"]

_KINDS: tuple[Kind, ...] = ("choice", "uniform", "loguniform", "randint")
_MOST_GRID_VALUES = 20


class SpaceError(ValueError):
    """A search space cannot be used. The message says which key, what came, what to do."""


@dataclass(frozen=True)
class Parameter:
    """A recipe key and what it may be."""

    key: str
    kind: Kind
    values: tuple[Any, ...]
    """All choices, or the two ends of a range, both included."""
    q: int = 1
    """Step of `randint`."""
    grid: int | None = None
    """How many values of a range a grid takes."""
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Other keys to the values under which this one applies; all must hold."""

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the key applies, where the others are as in `values`."""
        return all(key in values and values[key] in allowed for key, allowed in self.when.items())

    def can_be(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        if self.kind == "choice":
            return value in self.values
        low, high = self.values
        return _is_number(value) and bool(low <= value <= high)

    def probes(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice, or both ends."""
        if self.kind == "randint":
            return self.values[0], self._last()
        return self.values

    def draw(self, source: random.Random) -> Any:
        """A value at random."""
        if self.kind == "choice":
            return source.choice(self.values)
        low, high = self.values
        if self.kind == "randint":
            return source.randrange(low, high + 1, self.q)
        if self.kind == "uniform":
            return source.uniform(low, high)
        return min(max(math.exp(source.uniform(math.log(low), math.log(high))), low), high)

    def suggest(self, trial: Any) -> Any:
        """A value that an Optuna trial suggests."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, list(self.values))
        low, high = self.values
        if self.kind == "randint":
            return trial.suggest_int(self.key, low, self._last(), step=self.q)
        return trial.suggest_float(self.key, low, high, log=self.kind == "loguniform")

    def grid_values(self) -> list[Any]:
        """The values that a grid takes.

        Raises:
            SpaceError: a range without `grid`, or whole numbers too many to try them all.
        """
        if self.kind == "choice":
            return list(self.values)
        low, high = self.values
        if self.kind == "randint" and self.grid is None:
            every = list(range(low, high + 1, self.q))
            if len(every) <= _MOST_GRID_VALUES:
                return every
        if self.grid is None:
            raise SpaceError(
                f"{self.key}: a grid needs to know how many values of the {self.kind} range to "
                "take: add `grid: 4`, or use --search random"
            )
        shares = [step / (self.grid - 1) for step in range(self.grid)]
        if self.kind == "loguniform":
            return [low * (high / low) ** share for share in shares[:-1]] + [high]
        spread = [low + (high - low) * share for share in shares]
        if self.kind == "uniform":
            return spread
        return sorted({low + round((value - low) / self.q) * self.q for value in spread})

    def _last(self) -> int:
        low, high = self.values
        return int(low + (high - low) // self.q * self.q)


def parse_parameter(key: str, given: Any) -> Parameter:
    """A parameter from its part of the file.

    Raises:
        SpaceError: it says nothing, too much, or something impossible.
    """
    if not isinstance(given, dict):
        raise SpaceError(
            f"{key}: expected one of {', '.join(_KINDS)} with values, got {shown(given)}"
        )
    for name in map(str, given):
        if name not in (*_KINDS, "q", "grid", "when"):
            raise SpaceError(f"{key}: {unknown(name, name, [*_KINDS, 'q', 'grid', 'when'])}")
    kinds = [kind for kind in _KINDS if kind in given]
    if len(kinds) != 1:
        raise SpaceError(f"{key}: expected exactly one of {', '.join(_KINDS)}, got {kinds or None}")
    kind = kinds[0]
    values = given[kind]
    if kind == "choice":
        _check_choices(key, values)
    else:
        _check_range(key, kind, values)
    return Parameter(
        key=key,
        kind=kind,
        values=tuple(values),
        q=_whole(key, "q", given, only_for=(kind == "randint"), least=1) or 1,
        grid=_whole(key, "grid", given, only_for=(kind != "choice"), least=2),
        when=_conditions(key, given.get("when", {})),
    )


def _check_choices(key: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise SpaceError(f"{key}: choice: expected a list of values, got {shown(values)}")
    if any(isinstance(value, dict | list) for value in values):
        raise SpaceError(f"{key}: choice: expected plain values, got {shown(values)}")
    if len({(type(value), value) for value in values}) < len(values):
        raise SpaceError(f"{key}: choice: a value is there twice: {shown(values)}")


def _check_range(key: str, kind: Kind, values: Any) -> None:
    if not isinstance(values, list) or len(values) != 2 or not all(map(_is_number, values)):
        raise SpaceError(
            f"{key}: {kind}: expected [lowest, highest] as numbers, got {shown(values)}"
        )
    low, high = values
    if kind == "randint" and not all(isinstance(value, int) for value in values):
        raise SpaceError(f"{key}: randint: expected whole numbers, got {shown(values)}")
    if not low < high:
        raise SpaceError(f"{key}: {kind}: expected the lowest first, got {shown(values)}")
    if kind == "loguniform" and low <= 0:
        raise SpaceError(f"{key}: loguniform: expected numbers above 0, got {shown(values)}")


def _conditions(key: str, given: Any) -> dict[str, list[Any]]:
    if not isinstance(given, dict):
        raise SpaceError(f"{key}: when: expected `other.key: value`, got {shown(given)}")
    return {
        str(other): allowed if isinstance(allowed, list) else [allowed]
        for other, allowed in given.items()
    }


def _whole(key: str, name: str, given: Any, *, only_for: bool, least: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not only_for:
        raise SpaceError(f"{key}: {name} means nothing here: leave it out")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpaceError(
            f"{key}: {name}: expected a whole number at least {least}, got {shown(value)}"
        )
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
