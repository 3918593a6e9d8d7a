"""The curves of one run against its time, as pictures for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from fastdfkd.report.drawing import INK, style, vector_picture
from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.metrics import Row

_SECONDS = "end_to_end_seconds"
_MOST_POINTS = 400
_WIDTH, _HEIGHT = 4.2, 2.9  # inches; text has its natural size on a screen of 400 pixels
_MOST_MARKERS = 40

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Chart:
    """What one picture shows."""

    title: str
    columns: dict[str, str]
    """Name in the legend by column of `metrics.csv`."""
    scale: Literal["linear", "log", "symlog"] = "linear"
    percent: bool = False
    """The columns are shares, shown from 0 to 100 %."""


_CHARTS = (
    _Chart(
        "Student's figures, %",
        {name: figure.name for name, figure in FIGURES.items() if figure.unit == "share"},
        percent=True,
    ),
    _Chart("Student's loss: KL divergence from the teacher", {"loss": "loss"}, "log"),
    _Chart(
        "Losses of synthesis",
        {
            "bn_loss": "batch-norm statistics",
            "oh_loss": "cross-entropy",
            "adv_loss": "adversarial",
            "cr_loss": "contrastive",
        },
        "symlog",
    ),
    _Chart("Images synthesised", {"images": "images"}),
    _Chart("Student updates", {"updates": "updates"}),
    _Chart(
        "The newest images, %",
        {
            "newest_confidence": "teacher's confidence",
            "newest_coverage": "classes that occur",
            "newest_distinct": "distinct",
        },
        percent=True,
    ),
)


@dataclass(frozen=True)
class Curve:
    """A picture of a run's progress."""

    title: str
    svg: Markup | None


def draw_curves(rows: Sequence[Row], teacher: float | None) -> list[Curve]:
    """The pictures of a run; none for what its rows do not have.

    Args:
        rows: of `metrics.csv`.
        teacher: the teacher's value of the figure by which students are compared, 0 to 1, drawn as
            a line beside the student's figures; None draws no line.
    """
    curves = []
    for number, chart in enumerate(_CHARTS):
        lines = {name: found for c, name in chart.columns.items() if (found := _points(rows, c))}
        if lines:
            level = teacher if number == 0 else None
            curves.append(Curve(chart.title, _drawn(chart, f"c{number}", lines, level)))
    return curves


def _points(rows: Iterable[Row], column: str) -> Points:
    """(seconds, value) of the rows with a finite value, thinned out to at most 400.

    A row without seconds takes those of the row before it. Rows before the first seconds are left
    out.
    """
    found, seconds = [], math.nan
    for row in rows:
        seconds = row.get(_SECONDS, seconds)
        value = row.get(column, math.nan)
        if math.isfinite(seconds) and math.isfinite(value):
            found.append((seconds, value))
    step = -(-len(found) // _MOST_POINTS) or 1
    return found[:-1:step] + found[-1:]


def _drawn(
    chart: _Chart, name: str, lines: dict[str, Points], teacher: float | None
) -> Markup | None:
    factor = 100 if chart.percent else 1
    with vector_picture(_WIDTH, _HEIGHT, name, _in_words(chart, lines)) as picture:
        axes = picture.axes
        for index, (label, points) in enumerate(lines.items()):
            look = style(index)
            if len(points) > _MOST_MARKERS:
                look["marker"] = ""
            values = [value * factor for _, value in points]
            axes.plot([x for x, _ in points], values, label=label, markersize=4, **look)
        _set_scale(axes, chart, lines)
        if teacher is not None:
            axes.axhline(teacher * factor, linewidth=1, linestyle=":", color=INK, label="teacher")
        axes.set_xlabel("seconds end to end")
        axes.grid(True)
        if len(lines) > 1 or teacher is not None:
            axes.figure.legend(
                frameon=False, fontsize=9, loc="outside lower center", ncols=2, handlelength=3
            )
    return picture.svg


def _set_scale(axes: Any, chart: _Chart, lines: dict[str, Points]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    values = [value for line in lines.values() for _, value in line]
    if chart.percent:
        axes.set_ylim(0, 104)
        return
    if chart.scale == "linear" or (chart.scale == "log" and max(values) < 10 * min(values)):
        return
    if chart.scale == "symlog" or min(values) <= 0:
        axes.set_yscale("symlog", linthresh=0.1)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _in_words(chart: _Chart, lines: dict[str, Points]) -> str:
    """The first and the last value of each line, for readers who do not see the picture."""
    unit, factor = (" %", 100) if chart.percent else ("", 1)
    texts = [
        f"{name} from {points[0][1] * factor:,.4g}{unit} to {points[-1][1] * factor:,.4g}{unit}"
        for name, points in lines.items()
    ]
    return f"{chart.title}: {'; '.join(texts)}"
