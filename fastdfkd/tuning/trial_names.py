"""What trials and settings are called: by what varies among them, `steps=5 meta_lr=0.015`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastdfkd.recipe.naming import setting, short_keys
from fastdfkd.text.safe_text import file_name
from fastdfkd.tuning.parameter import Point
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
        every = [parameter.key for parameter in space.parameters]
        varying = [d.key for d in space.parameters if len(d.values) > 1 or d.when]
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
