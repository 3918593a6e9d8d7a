"""Writes the measured tables into README.md and docs/results.md, between two marker comments.

    python -m benchmarks.readme_table

The figures come from `benchmarks/results/speedup-<data set>/`. No figure is typed by hand.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.speedup import RESULTS, SETTINGS
from fastdfkd.comparison.table import percent
from fastdfkd.report.table import seconds, times

ROOT = Path(__file__).parents[1]
PAGES: dict[str, Sequence[str]] = {"README.md": ["digits"], "docs/results.md": list(SETTINGS)}
"""Page to the data sets whose tables it shows."""
BEGIN = "<!-- begin: python -m benchmarks.readme_table -->"
END = "<!-- end: python -m benchmarks.readme_table -->"
NOTE = (
    "The reference made {images} images only. Its measured cost per image is extrapolated to the "
    "number of images in each other row. Its accuracy is that of a student trained on those few "
    "images. [What else these figures do not show]({measuring}#what-the-numbers-do-not-show)."
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
    """Replace the part between the markers of each page."""
    for page in PAGES:
        path = ROOT / page
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        path.write_text(before + block(page) + after, encoding="utf-8")


def block(page: str, results: Path = RESULTS) -> str:
    """The generated part of a page, markers included. Data sets without results are left out.

    Args:
        page: a key of `PAGES`; links are relative to its folder.
        results: folder that holds `speedup-<data set>/` for each measured data set.
    """
    folders = [results / f"speedup-{data}" for data in PAGES[page]]
    sections = [_section(page, folder) for folder in folders if folder.is_dir()]
    return "\n\n".join([BEGIN, *sections, END])


def _section(page: str, folder: Path) -> str:
    table, runs = pd.read_csv(folder / "table.csv"), pd.read_csv(folder / "runs.csv")
    heads = ["setting", *(head for head, _ in COLUMNS.values())]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    lines += [_row(record) for record in table.to_dict("records")]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    data = folder.name.removeprefix("speedup-")
    link = _link(page, f"benchmarks/results/{folder.name}/table.md")
    images = f"{table['images'].iloc[0]:,.0f}"
    note = NOTE.format(images=images, measuring=_link(page, "docs/measuring.md"))
    return f"{_heading(data, table, runs)} ([every figure]({link})):\n\n{rows}\n\n{note}"


def _link(page: str, target: str) -> str:
    """`target`, a path from the repository's root, as a link on `page`."""
    return Path(os.path.relpath(target, Path(page).parent)).as_posix()


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
        f" mean ± standard deviation over {seeds} seeds"
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
