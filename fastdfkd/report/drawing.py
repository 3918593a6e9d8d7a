"""The common style of all pictures: canvas, axes, legend, and a distinct style per setting.

Settings differ in colour, line and marker. The colours are those of Okabe and Ito, which
colour-blind readers can distinguish. Line and marker alone distinguish the first 44 settings, so
greyscale prints are readable.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p")
FILLS: tuple[dict[str, str], ...] = (
    {"facecolor": "#0072B2", "hatch": "", "edgecolor": "white"},
    {"facecolor": "#E69F00", "hatch": "////", "edgecolor": "black"},
    {"facecolor": "#F7F7F7", "hatch": "....", "edgecolor": "#009E73"},
)
"""Fill styles of the parts of a bar: dark, medium and light, each with its own hatch."""
BACKGROUND: dict[str, Any] = {"color": "0.45", "marker": "x", "linestyle": ""}
"""Style of points that are shown for context."""
HIGHLIGHT: dict[str, Any] = {"color": "#D55E00", "marker": "s", "linestyle": "-"}
"""Style of the points that the picture is about."""
POINTS: dict[str, Any] = {"color": "#0072B2", "marker": "o", "linestyle": ""}
"""Style of ordinary points."""
_SETTINGS: dict[Any, Any] = {"text.parse_math": False, "hatch.linewidth": 0.6}
_MISSING_GLYPHS = "Glyph .* missing|Matplotlib currently does not support"  # drawn as boxes
INK, GRID = "#010203", "#040506"
"""Colours in place of those of the page, which are known only where it is shown."""
_MAX_NAMES_INSIDE = 8
_LEGEND_WIDTH = 100
"""Characters per row of a legend below the picture."""


def style(index: int) -> dict[str, Any]:
    """Line style of setting number `index`.

    The numbers of colours, lines and markers have no common factor, so 308 styles are distinct.
    """
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _LINES[index % len(_LINES)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


@contextmanager
def picture(
    path: Path, width: float, height: float, *, rows: int = 0, columns: int = 1
) -> Iterator[Any]:
    """Create a figure; write it to `path` as PNG when the `with` block ends.

    Text is drawn as it is: a dollar sign does not start a formula.

    Args:
        path: file to write.
        width: of the figure, in inches.
        height: of the figure, in inches.
        rows: 0 for a single plot; else the number of rows of plots.
        columns: number of columns of plots.

    Yields:
        The axes; with `rows`, a list of `rows * columns` axes that share their y-axis.
    """
    with _canvas(width, height) as figure:
        if rows:
            axes: Any = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        else:
            axes = figure.add_subplot()
        for each in axes if rows else [axes]:
            each.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(path, dpi=130, format="png")


@contextmanager
def vector_picture(width: float, height: float, name: str, about: str) -> Iterator[VectorPicture]:
    """Create a figure with one plot, for a page: it takes the page's colours, light or dark.

    Args:
        width: of the figure, in inches.
        height: of the figure, in inches.
        name: tells the picture from the others of a page; letters and digits.
        about: what readers hear who do not see it.

    Yields:
        The picture. Its `svg` is there when the `with` block has ended.
    """
    with _canvas(width, height, _page_colours(name)) as figure:
        drawn = VectorPicture(figure.add_subplot())
        drawn.axes.spines[["top", "right"]].set_visible(False)
        yield drawn
        content = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(content, format="svg", transparent=True, metadata=nothing)
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(GRID, "var(--line)")
    for reference in (' id="', 'href="#', "url(#"):  # unique in a page of several pictures
        svg = svg.replace(reference, f"{reference}{name}-")
    drawn.svg = Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(about)}"', 1))


@dataclass
class VectorPicture:
    """A picture for a page."""

    axes: Any
    svg: Markup | None = None
    """An `<svg>` element; None inside the `with` block."""


@contextmanager
def _canvas(
    width: float, height: float, settings: Mapping[Any, Any] | None = None
) -> Iterator[Any]:
    """A figure of this size in inches, with the settings of all pictures."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({**_SETTINGS, **(settings or {})}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING_GLYPHS)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _page_colours(name: str) -> dict[Any, Any]:
    """Settings of a picture whose ink and grid are replaced by the page's colours."""
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(inked, INK),
        "grid.color": GRID,
        "svg.fonttype": "none",
        "svg.hashsalt": name,
    }


def legend(axes: Any, names: Sequence[str]) -> None:
    """Draw the legend: up to 8 names inside the plot, more names below it."""
    if len(names) <= _MAX_NAMES_INSIDE:
        axes.legend(frameon=False, handlelength=4)
        return
    columns = max(1, _LEGEND_WIDTH // (max(map(len, names)) + 8))
    axes.figure.legend(
        frameon=False, handlelength=4, fontsize=8, loc="outside lower center", ncols=columns
    )


def legend_inches(names: Sequence[str]) -> float:
    """Extra height of a picture for the legend below it, in inches; 0 for a legend inside."""
    if len(names) <= _MAX_NAMES_INSIDE:
        return 0.0
    columns = max(1, _LEGEND_WIDTH // (max(map(len, names)) + 8))
    return 0.17 * -(-len(names) // columns)


def seconds_axis(axes: Any, what: str) -> None:
    """Make the x-axis logarithmic in seconds, with ticks at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{what}, seconds (log scale)")


def accuracy_axis(axes: Any, teacher_accuracy: float | None, label: str) -> None:
    """Make the y-axis a figure in percent, with a line at the teacher's value of it (0 to 1).

    There is no line if that is None. `label`: what the axis shows.
    """
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
    axes.set_ylabel(f"{label}, %")
    axes.grid(True, which="major", color="0.9")
