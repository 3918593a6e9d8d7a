"""Prints a table of text on the terminal without cutting any cell.

A table that is too wide is made narrower. The first of these layouts that fits is used:

    full width -> headings wrapped -> names without their common prefix -> cells wrapped before `±`
    -> columns split over several tables

If the output is not a terminal, the table has its full width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from fastdfkd.text.safe_text import visible

if TYPE_CHECKING:
    from rich.console import Console

Rows = Sequence[Sequence[str]]
_FRAME_WIDTH = 3
"""Terminal columns that the frame and padding of a cell take."""
_BREAKS = re.compile(r"(?<=[-/:,_ ])")
"""Where a text may be wrapped."""
_MIN_NAME_WIDTH = 20
ELLIPSIS = "…"


def print_table(
    heads: Sequence[str],
    rows: Rows,
    *,
    title: str = "",
    caption: str = "",
    console: Console | None = None,
) -> None:
    """Print a table. The first column contains the names of the rows, the others figures.

    Args:
        heads: headings.
        rows: cell texts, one per heading in each row. Control characters are escaped.
        title: line above the table.
        caption: paragraph below the table.
        console: console to print on; None means stdout.
    """
    from rich.console import Console

    console = console or Console()
    heads, rows = [visible(head) for head in heads], [[visible(cell) for cell in r] for r in rows]
    width = console.width if console.is_terminal else None
    tables, prefix = fit_tables(heads, rows, width)
    if title:
        console.print(Text(visible(title), style="bold"), soft_wrap=True)
    for table in tables:
        needed = sum((column.width or 0) + _FRAME_WIDTH for column in table.columns) + 1
        console.width = max(console.width, needed)  # rich cuts cells if the console is narrower
        console.print(table)
    if prefix:
        console.print(Text(f"{ELLIPSIS} stands for {prefix}"), soft_wrap=True)
    if caption:
        console.print(Text(visible(caption)), soft_wrap=True)


def fit_tables(heads: Sequence[str], rows: Rows, width: int | None) -> tuple[list[Table], str]:
    """Lay the table out in at most `width` terminal columns (None: any width).

    Returns:
        The tables, and the prefix of names that an ellipsis replaces; empty if none.
    """
    names = [row[0] for row in rows]
    prefix = common_prefix(names)
    if width is None:
        return [_table(heads, rows, [w - _FRAME_WIDTH for w in _full_widths(heads, rows)])], ""
    short = [[_without_prefix(row[0], prefix), *row[1:]] for row in rows]
    for candidate, wrap in product((rows, short), (False, True)):
        if wrap and candidate is rows and prefix:
            continue  # remove the prefix before any figure is wrapped
        cells = [[row[0], *(_figure(cell, wrap) for cell in row[1:])] for row in candidate]
        minimum, full = _minimum_widths(heads, cells), _full_widths(heads, cells)
        if sum(minimum) + 1 <= width:
            table = _table(heads, cells, _distribute(minimum, full, width - 1))
            return [table], prefix if candidate is short else ""
    return _split_columns(heads, short, width), prefix


def common_prefix(names: Sequence[str]) -> str:
    """The prefix whose removal makes the names shortest; at least two names share it.

    A prefix ends between words, never within a word or a number. In names such as
    `steps=5 lr=0.02` it ends between settings. Empty if no two names share a prefix.
    """
    counts: dict[str, int] = {}
    for name in dict.fromkeys(names):
        for prefix in _prefixes(name):
            counts[prefix] = counts.get(prefix, 0) + 1
    shared = [prefix for prefix, count in counts.items() if count > 1 and len(prefix) > 2]

    def length_without(prefix: str) -> tuple[int, int]:
        lengths = [cell_len(_without_prefix(name, prefix)) for name in names]
        return max(lengths), sum(lengths)

    return min(shared, key=length_without, default="")


def _prefixes(name: str) -> list[str]:
    """`a-` and `a-b-` for `a-b-c`; only complete settings for settings, as `steps=5 `."""
    ends = [match.end() for match in re.finditer(r"\s+", name)]
    if "=" not in name.split(" ")[0]:
        word = name.split(" ")[0]
        ends += [match.end() for match in re.finditer(r"[-/:_]", word)]
    return [name[:end] for end in ends if end < len(name)]


def _without_prefix(name: str, prefix: str) -> str:
    rest = name.removeprefix(prefix)
    return name if not prefix or rest == name else f"{ELLIPSIS}{rest}"


def _figure(cell: str, wrap: bool) -> str:
    """A figure on one line, or on two: `85.0 %` and `± 7.1 %`."""
    return cell.replace(" ±", "\n±") if wrap else cell


def _minimum_widths(heads: Sequence[str], rows: Rows) -> list[int]:
    """Width of each column with its heading wrapped between words, frame included."""
    words = [max(map(cell_len, head.split()), default=0) for head in heads]
    return [max(word, w) + _FRAME_WIDTH for word, w in zip(words, _cell_widths(rows), strict=True)]


def _full_widths(heads: Sequence[str], rows: Rows) -> list[int]:
    """Width of each column without wrapping, frame included."""
    pairs = zip(map(cell_len, heads), _cell_widths(rows), strict=True)
    return [max(pair) + _FRAME_WIDTH for pair in pairs]


def _cell_widths(rows: Rows) -> list[int]:
    """Width of the widest line in each column."""
    return [
        max(cell_len(line) for cell in cells for line in cell.split("\n"))
        for cells in zip(*rows, strict=True)
    ]


def _distribute(minimum: Sequence[int], full: Sequence[int], width: int) -> list[int]:
    """Widths of the texts, frame excluded.

    Each column gets its minimum. The rest goes to the narrowest columns below their full width.
    """
    widths = list(minimum)
    for _ in range(width - sum(widths)):
        growable = [i for i, w in enumerate(widths) if w < full[i]]
        if not growable:
            break
        widths[min(growable, key=lambda i: widths[i])] += 1
    return [w - _FRAME_WIDTH for w in widths]


def _split_columns(heads: Sequence[str], rows: Rows, width: int) -> list[Table]:
    """Several tables, each with the names and as many other columns as fit, at least one."""
    minimum = _minimum_widths(heads, rows)
    widest = max(minimum[1:], default=0)
    minimum[0] = min(minimum[0], max(width - 1 - widest, _MIN_NAME_WIDTH))
    tables, start = [], 1
    while start < len(heads):
        end = start + 1
        while end < len(heads) and minimum[0] + sum(minimum[start : end + 1]) + 1 <= width:
            end += 1
        part = [0, *range(start, end)]
        widest_figure = max(width - 1 - minimum[0], 10)
        widths = [min(minimum[i], widest_figure) if i else minimum[0] for i in part]
        texts = [w - _FRAME_WIDTH for w in widths]
        tables.append(_table([heads[i] for i in part], [[r[i] for i in part] for r in rows], texts))
        start = end
    return tables


def _table(heads: Sequence[str], rows: Rows, widths: Sequence[int]) -> Table:
    cells = [[_wrap(c, w) for c, w in zip(row, widths, strict=True)] for row in rows]
    table = Table(show_lines=any("\n" in cell for row in cells for cell in row))
    for index, (head, width) in enumerate(zip(heads, widths, strict=True)):
        side = "left" if index == 0 else "right"
        table.add_column(Text(_wrap(head, width)), justify=side, width=width)  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _wrap(text: str, width: int) -> str:
    """Wrap the text to lines of `width`: between words, or within a word that is longer."""
    lines: list[str] = []
    for line in text.split("\n"):
        current = ""
        for part in _BREAKS.split(line):
            if cell_len((current + part).rstrip()) <= width:
                current += part
                continue
            lines += [current.rstrip()] if current else []
            *complete, current = chop_cells(part, width) or [""]
            lines += complete
        lines.append(current.rstrip())
    return "\n".join(lines)
