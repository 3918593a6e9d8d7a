"""A table in the paper's layout, measured figures beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastdfkd.report.table import csv_text, markdown_table
from fastdfkd.reproduction.outcomes import Outcome, speed_up
from fastdfkd.reproduction.published import Table, published
from fastdfkd.reproduction.request import TableRun
from fastdfkd.runs.environment import commit, hardware
from fastdfkd.runs.folder import write_json, write_text
from fastdfkd.text.safe_text import markdown

NONE = "-"


def caption(table: Table) -> str:
    """What the cells of a table show."""
    return (
        f"Cells: {table.figure_name} in %, and hours of synthesis in brackets. Measured: the last "
        "student, mean ± sample standard deviation over the seeds; hours on this machine, which "
        "runs may have shared."
    )


def heads_and_rows(run: TableRun, found: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Headings, and cell texts: for each method the published figures and the measured ones."""
    table, names = run.table, published()
    pairs = list(dict.fromkeys(outcome.cell.pair for outcome in found))
    with_speed_up = table.reference is not None
    rows = []
    for name, row in table.rows.items():
        here = [outcome for outcome in found if outcome.cell.row == name]
        if not here:
            continue
        theirs = [_figure(o.cell.accuracy, o.cell.hours) for o in here]
        ours = [_figure(o.accuracy, o.mean_hours, o.deviation) for o in here]
        there = [outcome for outcome in found if outcome.cell.row == table.reference]
        if set(theirs) != {NONE}:
            rows.append([f"{row.label}, published", *theirs, _ratio(row.speed_up)])
        rows.append([f"{row.label}, measured", *ours, _ratio(speed_up(here, there))])
    rows = [*_about_teachers(run, found, pairs), *rows]
    heads = ["method", *map(names.pair, pairs), "speed-up"]
    if not with_speed_up:
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return heads, rows


def _about_teachers(
    run: TableRun, found: Sequence[Outcome], pairs: Sequence[str]
) -> list[list[str]]:
    """The rows of the teacher, and of the student that was trained on real images."""
    table = run.table
    columns = [table.pairs.index(pair) for pair in pairs]
    rows = [
        [label, *(_figure(figures[column], None) for column in columns), NONE]
        for label, figures in (
            ("teacher, published", table.teacher),
            ("student trained on real images, published", table.trained),
        )
        if figures
    ]
    measured = {o.cell.pair: o.teacher_accuracy for o in found if o.teacher_accuracy is not None}
    return [
        *rows[:1],
        ["teacher, measured", *(_figure(measured.get(pair), None) for pair in pairs), NONE],
        *rows[1:],
    ]


def notes(run: TableRun, found: Sequence[Outcome]) -> list[str]:
    """What a reader must know: what is missing, what the figures are of, remarks; one a line."""
    names, table = published(), run.table
    gaps: dict[str, list[str]] = {}
    for outcome in found:
        if outcome.missing:
            label = f"{table.rows[outcome.cell.row].label} ({names.pair(outcome.cell.pair)})"
            gaps.setdefault(outcome.missing, []).append(label)
    lines = [f"Missing: {', '.join(cells)}: {reason}" for reason, cells in gaps.items()]
    if run.request.overrides:
        lines.append(f"Changed in all recipes: {' '.join(run.request.overrides)}")
    others = sorted({recipe.data.name for recipe in run.recipes.values()} - {table.data})
    if others:
        lines.append(
            f"Measured on data.name {', '.join(others)} instead of {table.data}: not comparable "
            "with the published figures"
        )
    for outcome in found:
        cell = outcome.cell
        if cell.note:
            lines.append(f"{table.rows[cell.row].label} ({names.pair(cell.pair)}): {cell.note}")
    rows = {outcome.cell.row for outcome in found}
    for name, row in table.rows.items():
        if row.source and name in rows:
            lines.append(f"{row.label}: {row.source}")
    return [*lines, *table.remarks]


def facts(run: TableRun, found: Sequence[Outcome]) -> dict[str, Any]:
    """The table as JSON: what was asked for, the machine, and one entry for each cell."""
    return {
        "table": run.request.table,
        "title": run.table.title,
        "figure": run.table.figure,
        "seeds": run.request.seeds,
        "overrides": list(run.request.overrides),
        "source": published().source,
        "commit": commit(),
        "hardware": hardware(),
        "cells": [_cell_facts(run, outcome) for outcome in found],
        "notes": notes(run, found),
    }


def _cell_facts(run: TableRun, outcome: Outcome) -> dict[str, Any]:
    cell = outcome.cell
    data = run.recipes[cell.recipe].data
    return {
        "row": cell.row,
        "pair": cell.pair,
        "recipe": cell.recipe,
        "published_accuracy": cell.accuracy,
        "published_hours": cell.hours,
        "accuracy": outcome.accuracy,
        "accuracy_std": outcome.deviation,
        "hours": outcome.mean_hours,
        "accuracies": list(outcome.accuracies),
        "end_to_end_hours": list(outcome.end_to_end_hours),
        "teacher_accuracy": outcome.teacher_accuracy,
        "data": {"name": data.name, "root": data.root},
        "missing": outcome.missing,
    }


def write_results(run: TableRun, found: Sequence[Outcome]) -> list[Path]:
    """Write `table.md`, `table.csv` and `results.json` into the table's folder; return them."""
    import pandas as pd

    content = facts(run, found)
    title = f"{run.table.title}, {published().source}" if run.table.trained else run.table.title
    parts = [f"# {markdown(title)}", markdown_table(*heads_and_rows(run, found)).rstrip()]
    parts += [markdown(caption(run.table)), *map(markdown, notes(run, found))]
    files = [run.folder / name for name in ("table.md", "table.csv", "results.json")]
    write_text(files[0], "\n\n".join(parts) + "\n")
    columns = [
        {k: v for k, v in cell.items() if not isinstance(v, list | dict)}
        | {"data": cell["data"]["name"], "seeds": len(cell["accuracies"])}
        for cell in content["cells"]
    ]
    write_text(files[1], csv_text(pd.DataFrame(columns)))
    write_json(files[2], content)
    return files


def _figure(accuracy: float | None, hours: float | None, deviation: float | None = None) -> str:
    """`92.62 (0.06)`, `92.6 ± 0.2 (0.06)`; `-` without an accuracy."""
    if accuracy is None:
        return NONE
    spread = "" if deviation is None else f" ± {deviation:.2f}"
    return f"{accuracy:.2f}{spread}" + ("" if hours is None else f" ({hours_text(hours)})")


def hours_text(hours: float) -> str:
    """`42.1`, `0.06`, `0.0024`."""
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}" if hours >= 0.01 else f"{hours:.2g}"


def _ratio(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}x" if value >= 10 else f"{value:.1f}x"
