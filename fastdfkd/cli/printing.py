"""Prints a comparison and the report of a sweep, on the terminal or as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.table import cells, comparison_table, table_notes
from fastdfkd.report.terminal_table import print_table
from fastdfkd.tuning import sweep_report
from fastdfkd.tuning.objective import parse_objectives
from fastdfkd.tuning.trial_log import TrialLog

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.comparison.records import Comparison
    from fastdfkd.tuning.plan import Sweep

Say = Callable[[str], None]


def print_comparison(comparison: Comparison, say: Say) -> None:
    """Print the table and its notes."""
    table = comparison_table(comparison)
    print_table(*cells(comparison, table), title=comparison.title)
    for note in table_notes(comparison, table):
        say(f"\n{note}")


def comparison_facts(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """A comparison as plain data for JSON; figures that do not apply are null."""
    table = comparison_table(comparison)
    return {
        "title": comparison.title,
        "reference": comparison.reference,
        "settings": _records(table),
        "notes": table_notes(comparison, table),
        "folder": str(folder),
    }


def sweep_facts(sweep: Sweep) -> dict[str, Any]:
    """The report of a sweep as plain data for JSON; figures that do not apply are null."""
    records = TrialLog(sweep.folder).records()
    return {
        "title": sweep_report.title(sweep),
        "objective": sweep.options.objective,
        "points": _records(sweep_report.point_table(sweep, records)),
        "notes": sweep_report.warning_notes(sweep, records),
        "folder": str(sweep.folder),
    }


def _records(table: pd.DataFrame) -> Any:
    """Rows of a table as plain data; NaN becomes None."""
    return json.loads(table.to_json(orient="records", double_precision=15))


def print_sweep(sweep: Sweep, say: Say) -> None:
    """Print the table of a sweep, the commands that run its best recipes, and its folder."""
    records = TrialLog(sweep.folder).records()
    points = sweep_report.point_table(sweep, records)
    heads, rows = sweep_report.cells(points, parse_objectives(sweep.options.objective))
    print_table(heads, rows, title=sweep_report.title(sweep), caption=sweep_report.CAVEAT)
    for note in sweep_report.warning_notes(sweep, records):
        say(f"\n{note}")
    say("")
    for file in (sweep.folder / "best.yaml", *sorted(sweep.folder.glob("pareto-*.yaml"))):
        say(f"fastdfkd distill {shlex.quote(str(file))}")
    say(f"Tables, pictures and runs: {sweep.folder}")
