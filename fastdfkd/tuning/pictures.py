"""Pictures of a sweep: parallel coordinates, slices, the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.report.drawing import CHOSEN, MEASURED, PLAIN, picture
from fastdfkd.text.safe_text import printable
from fastdfkd.tuning.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

_UNFINISHED = "0.75"
_NOT_THERE = -0.15


def parallel_coordinates(
    points: pd.DataFrame, keys: Sequence[str], objective: Objective, path: Path
) -> None:
    """A line a point through an axis for each key, coloured by the objective, as PNG.

    Points that did not finish are grey and dotted.
    """
    heights = {key: _Axis(points[key].tolist()) for key in (*keys, objective.name)}
    scale = _scale(points, objective)
    with picture(path, 2.2 * (len(keys) + 1) + 2, 5) as axes:
        for _, row in points.iterrows():
            values = [heights[key].height(row[key]) for key in heights]
            look: dict[str, Any] = {"color": _UNFINISHED, "linestyle": ":"}
            if row["whole"]:
                look = {"color": scale.to_rgba(row[objective.name])}
            axes.plot(range(len(values)), values, linewidth=1.6, alpha=0.9, **look)
        for x, axis in enumerate(heights.values()):
            axes.axvline(x, color="0.3", linewidth=0.8)
            for height, text in axis.ticks():
                offset = {"xytext": (4, 0), "textcoords": "offset points"}
                axes.annotate(text, (x, height), fontsize=8, **offset)
        axes.set_xticks(range(len(heights)), list(heights))
        axes.set_yticks([])
        axes.set_xlim(-0.2, len(heights) - 0.5)
        axes.spines[:].set_visible(False)
        axes.figure.colorbar(scale, ax=axes, label=objective.name, pad=0.02)


def slices(points: pd.DataFrame, keys: Sequence[str], objective: Objective, path: Path) -> None:
    """The objective against each key, a panel a key; bars are one deviation over seeds.

    Points that did not finish are grey crosses.
    """
    spread = f"{objective.name} std"
    with picture(path, 3.2 * len(keys), 3.6, rows=1, columns=len(keys)) as panels:
        for panel, key in zip(panels, keys, strict=True):
            shown = points[points[key].notna()]
            axis = _Axis(points[key].tolist())
            for whole, look in ((False, PLAIN), (True, MEASURED)):
                some = shown[shown["whole"] == whole]
                panel.errorbar(
                    [axis.height(value) for value in some[key]],
                    some[objective.name],
                    yerr=some[spread].fillna(0.0),
                    **look,
                )
            ticks = [(height, text) for height, text in axis.ticks() if height != _NOT_THERE]
            panel.set_xticks([h for h, _ in ticks], [text for _, text in ticks], fontsize=8)
            panel.set_xlabel(key)
            panel.grid(True, axis="y", color="0.9")
        panels[0].set_ylabel(objective.name)


def pareto_picture(
    points: pd.DataFrame, objectives: Sequence[Objective], front: Sequence[int], path: Path
) -> None:
    """Two objectives against each other; the front joined by a line, its points by their names."""
    y, x = (objective.name for objective in objectives)
    whole = points[points["whole"]]
    best = points.loc[list(front)].sort_values(x)
    with picture(path, 8, 5) as axes:
        axes.plot(whole[x], whole[y], label="points", **PLAIN)
        axes.plot(best[x], best[y], label="Pareto front", **CHOSEN)
        for _, row in best.iterrows():
            offset = {"xytext": (5, -10), "textcoords": "offset points"}
            axes.annotate(printable(row["setting"]), (row[x], row[y]), fontsize=8, **offset)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.legend(frameon=False, handlelength=4)


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
        shown = [
            (self.height(v), f"{v:.3g}" if isinstance(v, float) else printable(v)) for v in values
        ]
        return [(_NOT_THERE, "not used"), *shown] if self._gaps else shown


def _missing(value: Any) -> bool:
    return value is None or value != value  # NaN alone differs from itself


def _scale(points: pd.DataFrame, objective: Objective) -> Any:
    """Colours from the worst, light, to the best, dark: shades of grey in the same order."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = points.loc[points["whole"], objective.name]
    colours = "viridis_r" if objective.mode == "max" else "viridis"
    return ScalarMappable(Normalize(values.min(), values.max()), colours)
