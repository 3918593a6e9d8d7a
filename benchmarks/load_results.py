"""Writes the result tables of the load benchmarks, with hardware, versions, commit and command."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import FOLDER, machine, results_file

Columns = Mapping[str, tuple[str, str]]
"""Heading and format by the key of a figure, such as `("batches/s", ".1f")`."""


@dataclass(frozen=True)
class Section:
    """A further table of a page."""

    title: str
    columns: Columns
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()


def write(
    name: str,
    title: str,
    columns: Columns,
    rows: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    seed: str,
    sections: Sequence[Section] = (),
) -> list[Path]:
    """Write `results/<name>-<machine>.json` and `.md`; return the two files."""
    record = {
        **machine(torch.device("cpu"), torch.get_num_threads()),
        "command": " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]]),
        "seed": seed,
        "rows": list(rows),
        "notes": list(notes),
    }
    if sections:
        record["sections"] = [
            {"title": section.title, "rows": list(section.rows), "notes": list(section.notes)}
            for section in sections
        ]
    base = results_file(quick=False).name.replace("step_cost", name)
    files = [FOLDER / f"{base}{ending}" for ending in (".json", ".md")]
    files[0].write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    files[1].write_text(page(title, record, columns, sections), encoding="utf-8")
    return files


def page(
    title: str, record: Mapping[str, Any], columns: Columns, sections: Sequence[Section] = ()
) -> str:
    """The record and its further tables as Markdown."""
    hardware = record["hardware"]
    lines = [
        f"# {title}",
        "",
        f"{record['date']}, {record['device']}, {hardware['cores']:g} cores, "
        f"{', '.join(hardware['gpus']) or 'no GPU'}; commit {_short(record['commit'])}; "
        f"{record['seed']}  ",
        f"`{record['command']}`  ",
        ", ".join(f"{package} {version}" for package, version in record["versions"].items()),
        "",
        *grid(columns, record["rows"]),
    ]
    for note in record["notes"]:
        lines += ["", note]
    for section in sections:
        lines += ["", f"## {section.title}", "", *grid(section.columns, section.rows)]
        for note in section.notes:
            lines += ["", note]
    return "\n".join(lines) + "\n"


def grid(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown lines of a table; the cell of a missing figure is empty."""
    lines = [
        f"| {' | '.join(heading for heading, _ in columns.values())} |",
        f"|{'---|' * len(columns)}",
    ]
    for row in rows:
        cells = [
            format(row[key], form) if row.get(key) is not None else ""
            for key, (_, form) in columns.items()
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _short(commit: str) -> str:
    return f"{commit[:12]}{'-dirty' if commit.endswith('-dirty') else ''}"
