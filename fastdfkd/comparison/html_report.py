"""`report.html`: one self-contained file for offline reading, with a light and a dark theme."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.table import cells
from fastdfkd.report import profile_table
from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.profile import Profile
from fastdfkd.text.safe_text import visible

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.comparison.records import Comparison

_PICTURES = {  # file name and caption
    "{column}_vs_synthesis.png": "{figure} against seconds of synthesis",
    "{column}_vs_end_to_end.png": "{figure} against seconds end to end",
    "time.png": "Where the time goes",
    "samples.png": "The newest images of each setting",
}

_PAGE = """<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --line: #d5d5d5; --mark: #d3ecdf; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181b; --line: #3c4046; --mark: #1d4733; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 0 auto; padding: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
.mark td { background: var(--mark); }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<div class="scroll"><table>
<thead><tr>{% for head in heads %}<th>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}<tr{% if row.marked %} class="mark"{% endif %}>
{%- for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% for note in notes %}<p>{{ note }}</p>
{% endfor %}
{% for profile in profiles %}<h2>{{ profile.title }}</h2>
<div class="scroll"><table>
<thead><tr>{% for head in profile.heads %}<th>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in profile.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% for note in profile.notes %}<p>{{ note }}</p>
{% endfor %}{% endfor %}
{% for picture in pictures %}<figure><figcaption>{{ picture.caption }}</figcaption>
<img alt="{{ picture.caption }}" src="data:image/png;base64,{{ picture.data }}"></figure>
{% endfor %}
</body>
</html>
"""


def render(comparison: Comparison, table: pd.DataFrame, notes: list[str], folder: Path) -> str:
    """Render the page as HTML. It embeds the pictures and loads nothing from the network.

    Args:
        comparison: the comparison to show.
        table: its `comparison_table`.
        notes: paragraphs below the table.
        folder: folder of the pictures; missing pictures are left out.
    """
    from jinja2 import Environment

    heads, rows = cells(comparison, table)
    marks = [bool(mark) for mark in table["mark"]]
    figure = FIGURES[comparison.figure].heading
    files = {folder / name.format(column=comparison.figure): c for name, c in _PICTURES.items()}
    pictures = [
        {
            "caption": caption.format(figure=figure),
            "data": base64.b64encode(file.read_bytes()).decode(),
        }
        for file, caption in files.items()
        if file.is_file()
    ]
    page = Environment(autoescape=True, finalize=visible).from_string(_PAGE)
    return page.render(
        title=comparison.title,
        heads=heads,
        rows=[{"marked": m, "cells": row} for m, row in zip(marks, rows, strict=True)],
        notes=notes,
        profiles=list(_profiles(comparison)),
        pictures=pictures,
    )


def _profiles(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The table of each setting whose first run was profiled (`fastdfkd profile`)."""
    for setting, runs in comparison.runs.items():
        profile = Profile.load(runs[0].folder)
        if profile is not None:
            heads, rows = profile_table.cells(profile)
            yield {
                "title": f"{setting}: teacher and student as they are deployed",
                "heads": heads,
                "rows": rows,
                "notes": profile_table.notes(profile),
            }
