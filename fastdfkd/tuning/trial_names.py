"""Names of points and trials, made of the values that vary: `steps=5 meta_lr=0.015`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastdfkd.recipe.naming import short_keys, value_text
from fastdfkd.text.safe_text import file_name
from fastdfkd.tuning.parameter import Point
from fastdfkd.tuning.search_space import SearchSpace


@dataclass(frozen=True)
class TrialNames:
    """Names of a sweep's points and trials."""

    keys: Mapping[str, str]
    """Short names of the keys that vary, by dotted key."""
    with_seed: bool
    """Whether points have more than one seed."""

    @classmethod
    def of(cls, space: SearchSpace, seeds: int) -> TrialNames:
        """Names for a sweep over a space with `seeds` seeds per point."""
        keys = [parameter.key for parameter in space.parameters]
        varying = [p.key for p in space.parameters if len(p.values) > 1 or p.when]
        return cls(short_keys(varying or keys), seeds > 1)

    def point(self, point: Point) -> str:
        """`steps=5 meta_lr=0.015`; keys that do not apply are left out."""
        return " ".join(
            f"{self.keys[k]}={value_text(v)}" for k, v in point.items() if k in self.keys
        )

    def trial(self, point: Point, seed: int) -> str:
        """`steps=5 meta_lr=0.015 seed=1`; the seed is left out if all trials have the same one."""
        return f"{self.point(point)} seed={seed}" if self.with_seed else self.point(point)

    def folder(self, index: int, point: Point, seed: int) -> str:
        """`003-steps=5,meta_lr=0.015,seed=1`: unique, and sorted like the points."""
        suffix = f",seed={seed}" if self.with_seed else ""
        return f"{file_name(f'{index:03d}-{self.point(point)}')}{suffix}"
