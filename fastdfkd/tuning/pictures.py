"""Pictures of a sweep: parallel coordinates, slices, the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.tuning.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

_UNFINISHED = "0.75"
_NOT_THERE = -0.15


def parallel_coordinates(
    points: pd.DataFrame, keys: Sequence[str], objective: Objective, path: Path
) -> None:
    """A line a point through an axis for each key, coloured by the objective, as PNG.

    Points that did not finish are grey.
    """
    figure, axes = _canvas(2.2 * (len(keys) + 1) + 2, 5)
    heights = {key: _Axis(points[key].tolist()) for key in (*keys, objective.name)}
    colour = _colours(points, objective)
    for _, row in points.iterrows():
        values = [heights[key].height(row[key]) for key in heights]
        axes.plot(range(len(values)), values, color=colour(row), linewidth=1.6, alpha=0.9)
    for x, axis in enumerate(heights.values()):
        axes.axvline(x, color="0.3", linewidth=0.8)
        for height, text in axis.ticks():
            axes.annotate(text, (x, height), xytext=(4, 0), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(heights)), list(heights))
    axes.set_yticks([])
    axes.set_xlim(-0.2, len(heights) - 0.5)
    axes.spines[:].set_visible(False)
    _bar(figure, axes, points, objective)
    figure.savefig(path, dpi=130, format="png")


def slices(points: pd.DataFrame, keys: Sequence[str], objective: Objective, path: Path) -> None:
    """The objective against each key, a panel a key; bars are one deviation over seeds."""
    figure, panels = _canvas(3.2 * len(keys), 3.6, len(keys))
    spread = f"{objective.name} std"
    for panel, key in zip(panels, keys, strict=True):
        shown = points[points[key].notna()]
        axis = _Axis(points[key].tolist())
        for whole, colour in ((False, _UNFINISHED), (True, "#0072B2")):
            some = shown[shown["whole"] == whole]
            panel.errorbar(
                [axis.height(value) for value in some[key]],
                some[objective.name],
                yerr=some[spread].fillna(0.0),
                fmt="o",
                color=colour,
            )
        ticks = [(height, text) for height, text in axis.ticks() if height != _NOT_THERE]
        panel.set_xticks([h for h, _ in ticks], [text for _, text in ticks], fontsize=8)
        panel.set_xlabel(key)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, axis="y", color="0.9")
    panels[0].set_ylabel(objective.name)
    figure.savefig(path, dpi=130, format="png")


def pareto_picture(
    points: pd.DataFrame, objectives: Sequence[Objective], front: Sequence[int], path: Path
) -> None:
    """Two objectives against each other; the front joined by a line."""
    figure, axes = _canvas(7, 5)
    y, x = (objective.name for objective in objectives)
    whole = points[points["whole"]]
    axes.scatter(whole[x], whole[y], color=_UNFINISHED, label="points")
    best = points.loc[list(front)].sort_values(x)
    axes.plot(best[x], best[y], "o-", color="#D55E00", label="Pareto front")
    for _, row in best.iterrows():
        axes.annotate(
            f"{row['point']}", (row[x], row[y]), xytext=(5, -10), textcoords="offset points"
        )
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, format="png")


class _Axis:
    """Places a key's values between 0 and 1: by size (log where that spreads them), or by order."""

    def __init__(self, values: Sequence[Any]) -> None:
        present = [value for value in values if not _missing(value)]
        self._gaps = len(present) < len(values)
        self._numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
        self._distinct = sorted(set(present), key=None if self._numbers else str)
        low = self._distinct[0] if self._distinct else 0
        high = self._distinct[-1] if self._distinct else 0
        self._log = self._numbers and low > 0 and high / low > 8

    def height(self, value: Any) -> float:
        """0 to 1; `_NOT_THERE`, below the others, where the key did not apply."""
        import math

        if _missing(value):
            return _NOT_THERE
        if not self._numbers:
            return self._distinct.index(value) / max(len(self._distinct) - 1, 1)
        low, high = self._distinct[0], self._distinct[-1]
        if low == high:
            return 0.5
        if self._log:
            return math.log(value / low) / math.log(high / low)
        return float((value - low) / (high - low))

    def ticks(self) -> list[tuple[float, str]]:
        """(place, text) of a few values: all of a few, else the ends and the middle ones."""
        values = self._distinct
        if self._numbers and len(values) > 5:
            values = [values[round(i * (len(values) - 1) / 4)] for i in range(5)]
        shown = [(self.height(v), f"{v:.3g}" if isinstance(v, float) else str(v)) for v in values]
        return [(_NOT_THERE, "not used"), *shown] if self._gaps else shown


def _missing(value: Any) -> bool:
    return value is None or value != value  # NaN alone differs from itself


def _canvas(width: float, height: float, panels: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if panels == 1 and height > 4:
        return figure, figure.add_subplot()
    return figure, figure.subplots(1, panels, sharey=True, squeeze=False)[0]


def _colours(points: pd.DataFrame, objective: Objective) -> Any:
    """A function from a row to its line's colour."""
    scale = _scale(points, objective)
    return lambda row: scale.to_rgba(row[objective.name]) if row["whole"] else _UNFINISHED


def _scale(points: pd.DataFrame, objective: Objective) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = points.loc[points["whole"], objective.name]
    return ScalarMappable(Normalize(values.min(), values.max()), "viridis")


def _bar(figure: Any, axes: Any, points: pd.DataFrame, objective: Objective) -> None:
    figure.colorbar(_scale(points, objective), ax=axes, label=objective.name, pad=0.02)
