"""A table of text for the terminal, of which nothing is cut: what is too wide is broken, not lost.

    as it is -> headings broken -> names without their common beginning -> cells broken before `±`
    -> columns over several tables

The first of these that fits the terminal is taken. Without a terminal a table is as wide as it is.
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
_AROUND_A_CELL = 3
"""Columns that a cell's frame takes."""
_JOINTS = re.compile(r"(?<=[-/:,_ ])")
_LEAST_NAME = 20
ELLIPSIS = "…"


def print_table(
    heads: Sequence[str],
    rows: Rows,
    *,
    title: str = "",
    caption: str = "",
    console: Console | None = None,
) -> None:
    """Print a table whose first column names its rows; the others are figures.

    Args:
        heads: headings.
        rows: texts, as many a row as there are headings; they may hold anything.
        title: above it.
        caption: a paragraph below it.
        console: to print on; unset: stdout.
    """
    from rich.console import Console

    console = console or Console()
    heads, rows = [visible(head) for head in heads], [[visible(cell) for cell in r] for r in rows]
    width = console.width if console.is_terminal else None
    tables, prefix = fitted(heads, rows, width)
    if title:
        console.print(Text(visible(title), style="bold"), soft_wrap=True)
    for table in tables:
        needed = sum((column.width or 0) + _AROUND_A_CELL for column in table.columns) + 1
        console.width = max(console.width, needed)  # rich would cut it
        console.print(table)
    if prefix:
        console.print(Text(f"{ELLIPSIS} stands for {prefix}"), soft_wrap=True)
    if caption:
        console.print(Text(visible(caption)), soft_wrap=True)


def fitted(heads: Sequence[str], rows: Rows, width: int | None) -> tuple[list[Table], str]:
    """Tables of at most `width` columns (None: of any), and what an ellipsis stands for."""
    names = [row[0] for row in rows]
    prefix = common_beginning(names)
    if width is None:
        return [_table(heads, rows, [w - _AROUND_A_CELL for w in _natural(heads, rows)])], ""
    short = [[_shortened(row[0], prefix), *row[1:]] for row in rows]
    for shown, broken in product((rows, short), (False, True)):
        if broken and shown is rows and prefix:
            continue  # the shared part goes before a figure is broken
        cells = [[row[0], *(_joined(cell, broken) for cell in row[1:])] for row in shown]
        least, most = _least(heads, cells), _natural(heads, cells)
        if sum(least) + 1 <= width:
            table = _table(heads, cells, _shared_out(least, most, width - 1))
            return [table], prefix if shown is short else ""
    return _bands(heads, short, width), prefix


def common_beginning(names: Sequence[str]) -> str:
    """What most letters are saved by: a beginning that names share, up to a joint between words.

    It never reaches into what differs: not into a word or a number, and of names such as
    `steps=5 lr=0.02` not into a setting. Empty where no two names share one.
    """
    found: dict[str, int] = {}
    for name in dict.fromkeys(names):
        for beginning in _beginnings(name):
            found[beginning] = found.get(beginning, 0) + 1
    shared = [beginning for beginning, count in found.items() if count > 1 and len(beginning) > 2]

    def remaining(beginning: str) -> tuple[int, int]:
        lengths = [cell_len(_shortened(name, beginning)) for name in names]
        return max(lengths), sum(lengths)

    return min(shared, key=remaining, default="")


def _beginnings(name: str) -> list[str]:
    """`a-`, `a-b-` of `a-b-c`; of settings only whole ones, `steps=5 `."""
    joints = [m.end() for m in re.finditer(r"\s+", name)]
    if "=" not in name.split(" ")[0]:
        word = name.split(" ")[0]
        joints += [place.end() for place in re.finditer(r"[-/:_]", word)]
    return [name[:joint] for joint in joints if joint < len(name)]


def _shortened(name: str, beginning: str) -> str:
    rest = name.removeprefix(beginning)
    return name if not beginning or rest == name else f"{ELLIPSIS}{rest}"


def _joined(cell: str, broken: bool) -> str:
    """A figure in one line, or in two: `85.0 %` and `± 7.1 %`."""
    return cell.replace(" ±", "\n±") if broken else cell


def _least(heads: Sequence[str], rows: Rows) -> list[int]:
    """Columns that each column needs with its heading broken between words, frame and all."""
    words = [max(map(cell_len, head.split()), default=0) for head in heads]
    return [max(word, w) + _AROUND_A_CELL for word, w in zip(words, _widest(rows), strict=True)]


def _natural(heads: Sequence[str], rows: Rows) -> list[int]:
    """Columns that each column takes unbroken, frame and all."""
    pairs = zip(map(cell_len, heads), _widest(rows), strict=True)
    return [max(pair) + _AROUND_A_CELL for pair in pairs]


def _widest(rows: Rows) -> list[int]:
    return [
        max(cell_len(line) for cell in cells for line in cell.split("\n"))
        for cells in zip(*rows, strict=True)
    ]


def _shared_out(least: Sequence[int], most: Sequence[int], width: int) -> list[int]:
    """Widths of the texts: from `least` on, what is left goes to the narrowest in want of it."""
    widths = list(least)
    for _ in range(width - sum(widths)):
        wanting = [i for i, w in enumerate(widths) if w < most[i]]
        if not wanting:
            break
        widths[min(wanting, key=lambda i: widths[i])] += 1
    return [w - _AROUND_A_CELL for w in widths]


def _bands(heads: Sequence[str], rows: Rows, width: int) -> list[Table]:
    """Several tables, each with the names and as many of the columns as fit, at least one."""
    least = _least(heads, rows)
    widest = max(least[1:], default=0)
    least[0] = min(least[0], max(width - 1 - widest, _LEAST_NAME))
    tables, start = [], 1
    while start < len(heads):
        end = start + 1
        while end < len(heads) and least[0] + sum(least[start : end + 1]) + 1 <= width:
            end += 1
        part = [0, *range(start, end)]
        widths = [min(least[i], max(width - 1 - least[0], 10)) if i else least[0] for i in part]
        texts = [w - _AROUND_A_CELL for w in widths]
        tables.append(_table([heads[i] for i in part], [[r[i] for i in part] for r in rows], texts))
        start = end
    return tables


def _table(heads: Sequence[str], rows: Rows, widths: Sequence[int]) -> Table:
    cells = [[_wrapped(c, w) for c, w in zip(row, widths, strict=True)] for row in rows]
    table = Table(show_lines=any("\n" in cell for row in cells for cell in row))
    for place, (head, width) in enumerate(zip(heads, widths, strict=True)):
        side = "left" if place == 0 else "right"
        table.add_column(Text(_wrapped(head, width)), justify=side, width=width)  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _wrapped(text: str, width: int) -> str:
    """The text in lines of that width, broken at joints between words; longer words anywhere."""
    done: list[str] = []
    for line in text.split("\n"):
        current = ""
        for part in _JOINTS.split(line):
            if cell_len((current + part).rstrip()) <= width:
                current += part
                continue
            done += [current.rstrip()] if current else []
            *whole, current = chop_cells(part, width) or [""]
            done += whole
        done.append(current.rstrip())
    return "\n".join(done)
