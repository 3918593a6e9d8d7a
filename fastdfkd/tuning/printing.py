"""A comparison and a sweep's findings on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastdfkd.report.terminal_table import print_table
from fastdfkd.tuning import findings
from fastdfkd.tuning.comparison_table import cells, comparison_table, words
from fastdfkd.tuning.ledger import Ledger
from fastdfkd.tuning.objective import parse_objectives

if TYPE_CHECKING:
    from fastdfkd.tuning.comparison import Comparison
    from fastdfkd.tuning.sweep import Sweep

Say = Callable[[str], None]


def print_comparison(comparison: Comparison, say: Say) -> None:
    """Print the table, and tell what a reader must know."""
    table = comparison_table(comparison)
    print_table(*cells(comparison, table), title=comparison.title)
    for note in words(comparison, table):
        say(f"\n{note}")


def print_findings(sweep: Sweep, say: Say) -> None:
    """Print a sweep's table, and tell the commands that run what it found, and its folder."""
    points = findings.point_table(sweep, Ledger(sweep.folder).records())
    heads, rows = findings.cells(points, parse_objectives(sweep.options.objective))
    print_table(heads, rows, title=findings.title(sweep), caption=findings.CAVEAT)
    say("")
    for file in (sweep.folder / "best.yaml", *sorted(sweep.folder.glob("pareto-*.yaml"))):
        say(f"fastdfkd distill {shlex.quote(str(file))}")
    say(f"Tables, pictures and runs: {sweep.folder}")
