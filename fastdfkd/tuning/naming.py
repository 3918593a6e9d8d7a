"""What trials and settings are called: by what varies among them, `steps=5 meta_lr=0.015`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastdfkd.safe_text import file_name, printable
from fastdfkd.tuning.dimension import Point
from fastdfkd.tuning.search_space import SearchSpace


@dataclass(frozen=True)
class TrialNames:
    """Names of a sweep's points and trials."""

    keys: Mapping[str, str]
    """Keys that vary, as they are called."""
    with_seed: bool
    """Whether points are run with more than one seed."""

    @classmethod
    def of(cls, space: SearchSpace, seeds: int) -> TrialNames:
        """Of a sweep over a space, with that many seeds a point."""
        every = [dimension.key for dimension in space.dimensions]
        varying = [d.key for d in space.dimensions if len(d.values) > 1 or d.when]
        return cls(short_keys(varying or every), seeds > 1)

    def point(self, point: Point) -> str:
        """`steps=5 meta_lr=0.015`; keys that do not apply are left out."""
        return " ".join(f"{self.keys[k]}={setting(v)}" for k, v in point.items() if k in self.keys)

    def trial(self, point: Point, seed: int) -> str:
        """`steps=5 meta_lr=0.015 seed=1`; without the seed where all trials have the same."""
        return f"{self.point(point)} seed={seed}" if self.with_seed else self.point(point)

    def folder(self, index: int, point: Point, seed: int) -> str:
        """`003-steps=5,meta_lr=0.015,seed=1`: in the points' order, and never another trial's."""
        seeded = f",seed={seed}" if self.with_seed else ""
        return f"{file_name(f'{index:03d}-{self.point(point)}')}{seeded}"


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Dotted keys to their last words, where these differ: `synthesis.steps` is called `steps`."""
    last = [key.rpartition(".")[2] for key in keys]
    return {k: word if last.count(word) == 1 else k for k, word in zip(keys, last, strict=True)}


def setting(value: Any) -> str:
    """A value as a name has it: four digits of a fraction, YAML's words for the rest."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return printable(value)


def by_what_varies(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each of several different flat recipes: the keys that all have and that differ."""
    shared = [key for key in settings[0] if all(key in other for other in settings)]
    keys = [key for key in shared if any(s[key] != settings[0][key] for s in settings)]
    names = short_keys(keys)
    return [" ".join(f"{names[k]}={_exact(k, s, settings)}" for k in keys) for s in settings]


def _exact(key: str, mine: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> str:
    """The value, with all its digits where four do not tell it from another's."""
    value, text = mine[key], setting(mine[key])
    alike = any(other[key] != value and setting(other[key]) == text for other in settings)
    return repr(value) if alike else text
