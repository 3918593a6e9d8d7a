"""The objectives of a sweep: one figure of a run, or two that trade off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fastdfkd.text.shown import shown

_MODES: dict[str, Literal["max", "min"]] = {
    "accuracy": "max",
    "mean_iou": "max",
    "agreement": "max",
    "synthetic_agreement": "max",
    "accuracy_at_seconds": "max",
    "mean_iou_at_seconds": "max",
    "synthesis_seconds": "min",
    "end_to_end_seconds": "min",
}
_AT_SECONDS = "_at_seconds"


@dataclass(frozen=True)
class Objective:
    """A figure of a run, and whether it is maximised or minimised."""

    name: str
    budget: float | None = None
    """End-to-end seconds; set for names that end in `_at_seconds` only."""

    @property
    def mode(self) -> Literal["max", "min"]:
        """`max` or `min`, as Ray Tune names it."""
        return _MODES[self.name]

    @property
    def figure(self) -> str:
        """The figure of an evaluation that it is read from."""
        return self.name.removesuffix(_AT_SECONDS)

    @property
    def text(self) -> str:
        """The form that `parse_objectives` reads."""
        return self.name if self.budget is None else f"{self.name}:{self.budget:g}"

    def better(self, first: float, second: float) -> bool:
        """Whether `first` is better than `second`."""
        return first > second if self.mode == "max" else first < second


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Read `accuracy`, `accuracy_at_seconds:30`, or two with a comma between them.

    Raises:
        ValueError: an objective is unknown or lacks its seconds, or there are more than two.
    """
    objectives = tuple(_parse(part.strip()) for part in text.split(","))
    names = [objective.name for objective in objectives]
    if len(objectives) > 2 or len(set(names)) < len(names):
        raise ValueError(
            f"--objective: expected one figure or two different ones, got {shown(text)}"
        )
    return objectives


def _parse(text: str) -> Objective:
    name, colon, budget = text.partition(":")
    if name not in _MODES:
        raise ValueError(f"--objective: expected one of {', '.join(_MODES)}, got {shown(text)}")
    if not name.endswith(_AT_SECONDS):
        if colon:
            raise ValueError(f"--objective: {name} takes no seconds, got {shown(text)}")
        return Objective(name)
    try:
        seconds = float(budget)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(
            f"--objective: expected a number of seconds above 0, as in {name}:30, got {shown(text)}"
        )
    return Objective(name, seconds)


class ObjectiveTracker:
    """Computes the objectives of one run after each of its evaluations."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = objectives
        self._in_budget: dict[str, float] = {}
        """The newest values within the seconds, by objective."""

    def __call__(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Values of the objectives after an evaluation, by name.

        Args:
            figures: those of the evaluation, and `synthesis_seconds` and `end_to_end_seconds` so
                far.

        Raises:
            ValueError: the run does not measure an objective.
        """
        values = {}
        for objective in self.objectives:
            if objective.figure not in figures:
                raise ValueError(
                    f"--objective {objective.text}: these runs do not measure "
                    f"{objective.figure}, because there are no such images; expected one of "
                    f"{', '.join(name for name in _MODES if name in figures)}"
                )
            if objective.budget is None:
                values[objective.name] = float(figures[objective.name])
                continue
            if figures["end_to_end_seconds"] <= objective.budget:
                self._in_budget[objective.name] = float(figures[objective.figure])
            values[objective.name] = self._in_budget.get(objective.name, 0.0)
        return values


def pareto_front(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the rows that are not dominated.

    One row dominates another if it is better in one objective and not worse in any.
    """

    def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
        trios = list(zip(objectives, first, second, strict=True))
        return any(o.better(a, b) for o, a, b in trios) and not any(
            o.better(b, a) for o, a, b in trios
        )

    return [
        index
        for index, row in enumerate(values)
        if not any(dominates(other, row) for other in values)
    ]
