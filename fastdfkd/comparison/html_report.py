"""`report.html` of a comparison, on the frame of `report/page.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.table import cells
from fastdfkd.report import page, profile_table
from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.comparison.records import Comparison

_PICTURES = {  # file name and caption
    "{column}_vs_synthesis.png": "{figure} against seconds of synthesis",
    "{column}_vs_end_to_end.png": "{figure} against seconds end to end",
    "time.png": "Where the time goes",
    "samples.png": "The newest images of each setting",
}


def render(comparison: Comparison, table: pd.DataFrame, notes: list[str], folder: Path) -> str:
    """Render the page as HTML. It embeds the pictures and loads nothing from the network.

    Args:
        comparison: the comparison to show.
        table: its `comparison_table`.
        notes: paragraphs below the table.
        folder: folder of the pictures; missing pictures are left out.
    """
    heads, rows = cells(comparison, table)
    figure = FIGURES[comparison.figure].heading
    files = {folder / name.format(column=comparison.figure): c for name, c in _PICTURES.items()}
    pictures = [
        {
            "caption": caption.format(figure=figure),
            "data": page.embedded(file.read_bytes()),
        }
        for file, caption in files.items()
        if file.is_file()
    ]
    return page.render(
        __package__,
        "comparison.html",
        title=comparison.title,
        heads=heads,
        rows=rows,
        marked=[bool(mark) for mark in table["mark"]],
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
