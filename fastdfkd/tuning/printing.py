"""A comparison and a sweep's findings on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.tuning.comparison_table import cells, comparison_table, words

if TYPE_CHECKING:
    from fastdfkd.tuning.comparison import Comparison

_WIDTH = 150


def print_comparison(comparison: Comparison) -> None:
    """Print the table and what a reader must know; plain text where stdout is no terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    table = comparison_table(comparison)
    heads, rows = cells(comparison, table)
    shown = Table(title=comparison.title)
    shown.add_column(heads[0])
    for head in heads[1:]:
        shown.add_column(head, justify="right")
    for row in rows:
        shown.add_row(*(cell.replace("**", "") for cell in row))
    console.print(shown)
    for note in words(comparison, table):
        console.print(f"\n{note}", soft_wrap=True, highlight=False, markup=False)


def print_findings(folder: Path, say: Callable[[str], None]) -> None:
    """Tell a sweep's table, the commands that run what it found, and its folder."""
    say("\n" + (folder / "table.md").read_text(encoding="utf-8").split("\n", 2)[2])
    for file in (folder / "best.yaml", *sorted(folder.glob("pareto-*.yaml"))):
        say(f"fastdfkd distill {file}")
    say(f"Tables, pictures and runs: {folder}")
