"""How every picture is drawn: its canvas, and the styles that tell settings apart.

Settings differ in colour, line and marker together. Colours are Okabe and Ito's, which colour-blind
eyes tell apart; lines and markers alone, as on grey paper, tell the first 44 apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p")
FILLS: tuple[dict[str, str], ...] = (
    {"facecolor": "#0072B2", "hatch": "", "edgecolor": "white"},
    {"facecolor": "#E69F00", "hatch": "////", "edgecolor": "black"},
    {"facecolor": "#F7F7F7", "hatch": "....", "edgecolor": "#009E73"},
)
"""Parts of a bar: dark, middling and light, each with a pattern of its own."""
PLAIN: dict[str, Any] = {"color": "0.45", "marker": "x", "linestyle": ""}
"""Points that are there for comparison only."""
CHOSEN: dict[str, Any] = {"color": "#D55E00", "marker": "s", "linestyle": "-"}
"""Points that a picture is about."""
MEASURED: dict[str, Any] = {"color": "#0072B2", "marker": "o", "linestyle": ""}
"""Points that all count alike."""
_SETTINGS: dict[Any, Any] = {"text.parse_math": False, "hatch.linewidth": 0.6}
_MISSING_LETTERS = "Glyph .* missing|Matplotlib currently does not support"  # it draws boxes
_LEGEND_INSIDE = 8
_LEGEND_LETTERS = 100


def style(index: int) -> dict[str, Any]:
    """Of the setting with that number: three cycles without a common factor, so 308 differ."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _LINES[index % len(_LINES)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


@contextmanager
def picture(
    path: Path, width: float, height: float, *, rows: int = 0, columns: int = 1
) -> Iterator[Any]:
    """A canvas in inches, written to `path` as PNG when the block is left.

    Gives the axes; with `rows`, a list of `rows * columns` of them, which share the upright axis.
    Text is shown as it is: a dollar sign begins no formula.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING_LETTERS)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        if rows:
            axes: Any = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        else:
            axes = figure.add_subplot()
        for one in axes if rows else [axes]:
            one.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(path, dpi=130, format="png")


def legend(axes: Any, names: Sequence[str]) -> None:
    """Few names inside the picture, many below it, with lines long enough to tell their styles."""
    if len(names) <= _LEGEND_INSIDE:
        axes.legend(frameon=False, handlelength=4)
        return
    columns = max(1, _LEGEND_LETTERS // (max(map(len, names)) + 8))
    axes.figure.legend(
        frameon=False, handlelength=4, fontsize=8, loc="outside lower center", ncols=columns
    )


def legend_inches(names: Sequence[str]) -> float:
    """How much higher a picture has to be for `legend` to stand below it."""
    if len(names) <= _LEGEND_INSIDE:
        return 0.0
    columns = max(1, _LEGEND_LETTERS // (max(map(len, names)) + 8))
    return 0.17 * -(-len(names) // columns)


def seconds_axis(axes: Any, what: str) -> None:
    """Seconds from left to right, by their logarithm, marked at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{what}, seconds (log scale)")


def accuracy_axis(axes: Any, teacher_accuracy: float | None) -> None:
    """Percent upwards, with a thin grey line at the teacher's (0 to 1), where that is known."""
    if teacher_accuracy is not None:
        percent = teacher_accuracy * 100
        axes.axhline(percent, color="0.6", linewidth=1.0, zorder=0)
        axes.annotate(
            f"teacher {percent:.1f} %",
            xy=(0.005, percent),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            color="0.35",
        )
    axes.set_ylim(0, 106)
    axes.set_ylabel("accuracy on held-out real images, %")
    axes.grid(True, which="major", color="0.9")
