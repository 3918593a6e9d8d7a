"""Writes the tables of docs/reproducing.md, between two marks: each cell of the paper's tables.

    .venv/bin/python docs/make_reproducing.py

Published figures come from `fastdfkd/reproduction/published.yaml`, costs of steps on an H100 from
`benchmarks/results/h100_steps.json`, and measured figures from the files that `fastdfkd reproduce`
wrote as `results.json` and that were copied into `benchmarks/results/reproduced/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.report.table import markdown_table
from fastdfkd.reproduction.layout import hours_text
from fastdfkd.reproduction.published import Cell, Row, Table, published

PAGE = Path(__file__).with_name("reproducing.md")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
NOT_MEASURED = "not measured"
JPEG_COPY = "cifar10_jpeg"
"""Beginning of the names of the files of the JPEG copy of CIFAR-10."""

Measured = Mapping[tuple[str, str, str, bool], str]
"""Accuracy by table, row, pair, and whether it is of the JPEG copy."""

BEGIN = "<!-- begin: python docs/make_reproducing.py -->"
END = "<!-- end: python docs/make_reproducing.py -->"

ESTIMATES = """\
The estimated hours are those on {device}. Source of the measured costs: {source}.
"""

TABLE_COMMAND = """\
## {title}

`fastdfkd reproduce {name}` runs all {count} cells.
"""


def block(results: Sequence[Mapping[str, Any]]) -> str:
    """The generated part of the page, marks included.

    Args:
        results: contents of `results.json` files.
    """
    steps, found = _steps(), measured(results)
    parts = [BEGIN, "", ESTIMATES.format(device=steps["device"], source=steps["source"])]
    for name, table in published().tables.items():
        if table.trained:
            parts += _section(name, table, found)
    return "\n".join([*parts, END])


def measured(results: Sequence[Mapping[str, Any]]) -> Measured:
    """The measured accuracies as texts. A later file wins."""
    found = {}
    for result in results:
        for cell in result["cells"]:
            if cell["accuracy"] is None:
                continue
            copy = Path(cell["data"]["root"] or "").name.startswith(JPEG_COPY)
            spread = cell["accuracy_std"]
            text = f"{cell['accuracy']:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
            found[result["table"], cell["row"], cell["pair"], copy] = text
    return found


def _section(name: str, table: Table, found: Measured) -> list[str]:
    """Heading, table and notes of one table."""
    unit = "%" if table.figure == "accuracy" else f"{table.figure_name} in %"
    heads = ["method", "pair", "command", f"published: {unit}", "hours"]
    heads += ["estimated: hours of synthesis", "of student updates", f"measured: {unit}"]
    with_copy = table.data == "cifar10"
    rows, notes = [], dict[str, int]()
    for cell in table.cells():
        row = table.rows[cell.row]
        note = "".join(
            f" ({notes.setdefault(text, len(notes) + 1)})" for text in _notes(row, cell) if text
        )
        texts = [row.label, published().pair(cell.pair), f"`fastdfkd distill {cell.recipe}`"]
        texts += ["" if cell.accuracy is None else f"{cell.accuracy:.2f}{note}"]
        texts += ["" if cell.hours is None else hours_text(cell.hours), *_estimates(cell)]
        texts += [found.get((name, cell.row, cell.pair, copy), "") for copy in (False, True)]
        rows.append(texts if with_copy else texts[:-1])
    if with_copy:
        heads.append("measured on the JPEG copy: %")
    lines = [TABLE_COMMAND.format(title=table.title, name=name, count=len(rows))]
    lines.append(_with_code(markdown_table(heads, rows)))
    lines += [f"* ({number}) {text}" for text, number in notes.items()]
    lines += [f"* {remark}" for remark in table.remarks]
    return [*lines, ""]


def _notes(row: Row, cell: Cell) -> tuple[str, str]:
    return cell.note, row.source if cell.accuracy is not None else ""


def _with_code(table: str) -> str:
    """The table with the escaping of backticks undone: only commands have any."""
    return table.replace("\\`", "`")


def _steps() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / "h100_steps.json").read_text(encoding="utf-8"))
    return content


def _estimates(cell: Cell) -> tuple[str, str]:
    """Estimated hours of synthesis and of student updates."""
    recipe = load_recipe(cell.recipe)
    synthesis = updates = NOT_MEASURED
    for step in _steps()["steps"]:
        if step["pair"] != cell.pair:
            continue
        if step["batch_size"] == recipe.distillation.batch_size:
            updates = hours_text(recipe.updates * step["update_seconds"] / 3600)
        if _has_step(recipe, step):
            seconds = step["batch_seconds"] / step["steps"]
            batches = recipe.synthesis.rounds * recipe.synthesis.steps_per_batch
            synthesis = hours_text(batches * seconds / 3600)
    return synthesis, updates


def _has_step(recipe: Recipe, step: Mapping[str, Any]) -> bool:
    """Whether the measured step is one of the recipe's."""
    section = recipe.synthesis
    return section.method == step["method"] and section.batch_size == step["batch_size"]


def results() -> list[dict[str, Any]]:
    """The committed results, in the order of their names."""
    files = sorted((RESULTS / "reproduced").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def main() -> None:
    """Rewrite the part of the page between the marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + block(results()) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
