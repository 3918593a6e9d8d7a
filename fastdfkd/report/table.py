"""The table of settings, as a data frame, as cell texts, as Markdown and as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fastdfkd.runs.result import RunResult
from fastdfkd.text.safe_text import csv_cell, markdown

if TYPE_CHECKING:
    import pandas as pd
TEACHER = "teacher"
"""Label of the teacher's row."""


def build_table(runs: Mapping[str, RunResult]) -> pd.DataFrame:
    """One row for the teacher and one for each run, in the order of `runs`.

    Columns: `setting`, `accuracy` and `agreement` (0 to 1), `images`,
    `synthesis_seconds_per_image`, `synthesis_speedup`, `end_to_end_seconds`,
    `end_to_end_speedup`. Figures that do not apply are NaN.

    Raises:
        ValueError: `runs` is empty, or its teachers have different accuracies.
    """
    import pandas as pd

    accuracies = {run.teacher_accuracy for run in runs.values()}
    if len(accuracies) != 1:
        found = sorted(accuracies, key=str)
        raise ValueError(f"a table needs runs of one teacher, got accuracies {found}")
    rows: list[dict[str, object]] = [{"setting": TEACHER, "accuracy": accuracies.pop()}]
    rows += [
        {
            "setting": label,
            "accuracy": run.accuracy,
            "agreement": run.agreement,
            "images": run.images,
            "synthesis_seconds_per_image": run.synthesis_seconds_per_image,
            "synthesis_speedup": run.synthesis_speedup,
            "end_to_end_seconds": run.end_to_end_seconds,
            "end_to_end_speedup": run.end_to_end_speedup,
        }
        for label, run in runs.items()
    ]
    table = pd.DataFrame(rows, columns=["setting", *_COLUMNS])
    numbers = table.columns.drop("setting")
    return table.astype({name: "float64" for name in numbers})


def render_markdown(table: pd.DataFrame, caption: str = "") -> str:
    """The table in Markdown. The caption, also Markdown, stands below it."""
    text = markdown_table(*cells(table))
    return f"{text}\n{caption}\n" if caption else text


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of arbitrary texts, which are escaped.

    The first column is aligned to the left, the others to the right.
    """
    lines = [["---", *["---:"] * (len(heads) - 1)], *(map(markdown, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in [map(markdown, heads), *lines])


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV. Cells are escaped so that spreadsheets do not run them as formulas.

    Text that is not ASCII starts with a byte order mark, without which Excel does not read UTF-8.
    """
    text = table.map(csv_cell).to_csv(index=False)
    return text if text.isascii() else f"\ufeff{text}"


def seconds(value: float) -> str:
    """Format a duration: `640 µs`, `6.4 ms`, `1.98 s`."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def size(count: float) -> str:
    """Format a number of bytes: `640 B`, `6.4 kB`, `1.98 GB`."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 999.5 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.3g} {unit}"


def times(value: float) -> str:
    """Format a speed-up: `0.94x`, `2.7x`, `136x`."""
    return f"{value:.0f}x" if value >= 10 else f"{value:.1f}x" if value >= 1 else f"{value:.2f}x"


def share(value: float | None) -> str:
    """A share in a sentence: `94.2%`; `unknown` for None and NaN."""
    return "unknown" if value is None or math.isnan(value) else f"{value:.1%}"


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", _percent),
    "agreement": ("agreement", _percent),
    "images": ("images", lambda value: f"{value:,.0f}"),
    "synthesis_seconds_per_image": ("synthesis / image", seconds),
    "synthesis_speedup": ("synthesis speed-up", times),
    "end_to_end_seconds": ("end to end", lambda value: f"{value:.1f} s"),
    "end_to_end_speedup": ("end-to-end speed-up", times),
}


def cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and cell texts."""
    heads = ["setting", *(head for head, _ in _COLUMNS.values())]
    rows = [
        [
            str(record["setting"]),
            *(
                "-" if math.isnan(record[name]) else show(record[name])
                for name, (_, show) in _COLUMNS.items()
            ),
        ]
        for record in table.to_dict("records")
    ]
    return heads, rows
