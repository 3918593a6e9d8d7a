"""Pictures of a sweep: parallel coordinates, slices, the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.report.drawing import BACKGROUND, HIGHLIGHT, POINTS, picture
from fastdfkd.text.safe_text import printable
from fastdfkd.tuning.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

_UNFINISHED_COLOUR = "0.75"
_UNUSED_HEIGHT = -0.15


def parallel_coordinates(
    points: pd.DataFrame, keys: Sequence[str], objective: Objective, path: Path
) -> None:
    """Draw parallel coordinates as PNG: one axis per key, one line per point.

    The colour of a line is its objective. Lines of unfinished points are grey and dotted.
    """
    axis_of = {key: _Axis(points[key].tolist()) for key in (*keys, objective.name)}
    scale = _scale(points, objective)
    with picture(path, 2.2 * (len(keys) + 1) + 2, 5) as axes:
        for _, row in points.iterrows():
            heights = [axis.height(row[key]) for key, axis in axis_of.items()]
            line: dict[str, Any] = {"color": _UNFINISHED_COLOUR, "linestyle": ":"}
            if row["whole"]:
                line = {"color": scale.to_rgba(row[objective.name])}
            axes.plot(range(len(heights)), heights, linewidth=1.6, alpha=0.9, **line)
        for x, axis in enumerate(axis_of.values()):
            axes.axvline(x, color="0.3", linewidth=0.8)
            for height, text in axis.ticks():
                offset = {"xytext": (4, 0), "textcoords": "offset points"}
                axes.annotate(text, (x, height), fontsize=8, **offset)
        axes.set_xticks(range(len(axis_of)), list(axis_of))
        axes.set_yticks([])
        axes.set_xlim(-0.2, len(axis_of) - 0.5)
        axes.spines[:].set_visible(False)
        axes.figure.colorbar(scale, ax=axes, label=objective.name, pad=0.02)


def slices(points: pd.DataFrame, keys: Sequence[str], objective: Objective, path: Path) -> None:
    """Draw the objective against each key as PNG, one panel per key.

    Error bars are one sample standard deviation over seeds. Unfinished points are grey crosses.
    """
    deviation = f"{objective.name} std"
    with picture(path, 3.2 * len(keys), 3.6, rows=1, columns=len(keys)) as panels:
        for panel, key in zip(panels, keys, strict=True):
            used = points[points[key].notna()]
            axis = _Axis(points[key].tolist())
            for finished, marker in ((False, BACKGROUND), (True, POINTS)):
                group = used[used["whole"] == finished]
                panel.errorbar(
                    [axis.height(value) for value in group[key]],
                    group[objective.name],
                    yerr=group[deviation].fillna(0.0),
                    **marker,
                )
            ticks = [(height, text) for height, text in axis.ticks() if height != _UNUSED_HEIGHT]
            panel.set_xticks([h for h, _ in ticks], [text for _, text in ticks], fontsize=8)
            panel.set_xlabel(key)
            panel.grid(True, axis="y", color="0.9")
        panels[0].set_ylabel(objective.name)


def pareto_picture(
    points: pd.DataFrame, objectives: Sequence[Objective], front: Sequence[int], path: Path
) -> None:
    """Draw two objectives against each other as PNG; the Pareto front is a line with names."""
    y, x = (objective.name for objective in objectives)
    finished = points[points["whole"]]
    best = points.loc[list(front)].sort_values(x)
    with picture(path, 8, 5) as axes:
        axes.plot(finished[x], finished[y], label="points", **BACKGROUND)
        axes.plot(best[x], best[y], label="Pareto front", **HIGHLIGHT)
        for _, row in best.iterrows():
            offset = {"xytext": (5, -10), "textcoords": "offset points"}
            axes.annotate(printable(row["setting"]), (row[x], row[y]), fontsize=8, **offset)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.legend(frameon=False, handlelength=4)


class _Axis:
    """Maps the values of a key to heights from 0 to 1.

    Numbers are placed by size. The scale is logarithmic if all are positive and the largest is more
    than 8 times the smallest. Other values are placed in alphabetical order.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        present = [value for value in values if not _missing(value)]
        self._has_gaps = len(present) < len(values)
        self._numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
        self._distinct = sorted(set(present), key=None if self._numbers else str)
        low = self._distinct[0] if self._distinct else 0
        high = self._distinct[-1] if self._distinct else 0
        self._log = self._numbers and low > 0 and high / low > 8

    def height(self, value: Any) -> float:
        """Height of a value, 0 to 1; `_UNUSED_HEIGHT` if the key did not apply."""
        import math

        if _missing(value):
            return _UNUSED_HEIGHT
        if not self._numbers:
            return self._distinct.index(value) / max(len(self._distinct) - 1, 1)
        low, high = self._distinct[0], self._distinct[-1]
        if low == high:
            return 0.5
        if self._log:
            return math.log(value / low) / math.log(high / low)
        return float((value - low) / (high - low))

    def ticks(self) -> list[tuple[float, str]]:
        """(height, text) of the ticks. Of more than five numbers, five spread ones get a tick."""
        values = self._distinct
        if self._numbers and len(values) > 5:
            values = [values[round(i * (len(values) - 1) / 4)] for i in range(5)]
        ticks = [
            (self.height(v), f"{v:.3g}" if isinstance(v, float) else printable(v)) for v in values
        ]
        return [(_UNUSED_HEIGHT, "not used"), *ticks] if self._has_gaps else ticks


def _missing(value: Any) -> bool:
    return value is None or value != value  # only NaN differs from itself


def _scale(points: pd.DataFrame, objective: Objective) -> Any:
    """Colour map from light (worst) to dark (best); it is readable in greyscale too."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = points.loc[points["whole"], objective.name]
    colours = "viridis_r" if objective.mode == "max" else "viridis"
    return ScalarMappable(Normalize(values.min(), values.max()), colours)
