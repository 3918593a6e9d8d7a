"""Writes the measured tables into README.md, between two marker comments.

python -m benchmarks.readme_table
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.speedup import RESULTS, SETTINGS
from fastdfkd.comparison.table import percent
from fastdfkd.report.table import seconds, times

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- begin: python -m benchmarks.readme_table -->"
END = "<!-- end: python -m benchmarks.readme_table -->"
READ_ON = (
    "Of the first row the cost an image was measured and extrapolated to the images of the others; "
    "its accuracy is of a student who saw those few images. "
    "[docs/measuring.md](docs/measuring.md) says what else the numbers do not show."
)
COLUMNS = {
    "accuracy": ("accuracy", percent),
    "images": ("images", lambda value: f"{value:,.0f}"),
    "synthesis_seconds_per_image": ("synthesis / image", seconds),
    "synthesis_speedup": ("synthesis speed-up", times),
    "end_to_end_seconds": ("end to end", seconds),
    "end_to_end_speedup": ("end-to-end speed-up", times),
}
WITHOUT_DEVIATION = ("images", "synthesis_seconds_per_image")


def main() -> None:
    """Replace the part of README.md between the markers."""
    path = ROOT / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(before + block() + after, encoding="utf-8")


def block(results: Path = RESULTS) -> str:
    """The text between the markers, markers included.

    Args:
        results: folder with a folder `speedup-<data set>` for each data set that was measured; the
            others are left out.
    """
    folders = [results / f"speedup-{data}" for data in SETTINGS]
    sections = [_section(folder) for folder in folders if folder.is_dir()]
    return "\n\n".join([BEGIN, *sections, *([READ_ON] if sections else []), END])


def _section(folder: Path) -> str:
    table, runs = pd.read_csv(folder / "table.csv"), pd.read_csv(folder / "runs.csv")
    heads = ["setting", *(head for head, _ in COLUMNS.values())]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    lines += [_row(record) for record in table.to_dict("records")]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    data = folder.name.removeprefix("speedup-")
    link = f"benchmarks/results/{folder.name}/table.md"
    return f"{_heading(data, table, runs)} ([every figure]({link})):\n\n{rows}"


def _heading(data: str, table: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Data set, teacher, hardware, commit and number of seeds."""
    hardware = "; ".join(
        f"{machine['processor']}, {machine['cores']:g} cores, GPUs: {machine['gpus']}"
        for machine in runs[["processor", "cores", "gpus"]].drop_duplicates().to_dict("records")
    )
    commits = ", ".join(str(commit)[:12] for commit in runs["commit"].unique())
    seeds = table["seeds"].min()
    return (
        f"**{data}**: teacher {runs['teacher_accuracy'].iloc[0]:.1%}; {hardware}; commit {commits};"
        f" mean ± deviation over {seeds} seeds"
    )


def _row(record: Mapping[Any, Any]) -> list[str]:
    mark = record["mark"]
    name = str(record["setting"]) + (f" **{mark}**" if isinstance(mark, str) else "")
    return [name, *(_cell(column, record) for column in COLUMNS)]


def _cell(column: str, record: Mapping[Any, Any]) -> str:
    show, deviation = COLUMNS[column][1], record[f"{column} std"]
    text = show(record[column])
    if column not in WITHOUT_DEVIATION and not math.isnan(deviation):
        text += f" ± {show(deviation)}"
    return text


if __name__ == "__main__":
    main()
