"""Speed-ups and accuracies of the sample recipes, measured with `fastdfkd compare`.

    python -m benchmarks.speedup [--only digits] [--seeds 3]

The 1x is DeepInversion with 2000 steps on a few images; its cost per image is measured. A second
reference makes a new generator for every batch (500 steps), as CMI does.

Writes table.md, table.csv and runs.csv to `benchmarks/results/speedup-<data set>/`. The notes of
the table contain hardware and commit. Runs, pictures and report.html go to `runs/`. After an
interruption run the same command again: finished runs of the same commit are reused. `python -m
benchmarks.readme_table` then writes the tables into README.md.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from fastdfkd.cli.printing import print_comparison
from fastdfkd.comparison.compare import compare

RESULTS = Path(__file__).parent / "results"
SETTINGS = {
    "digits": ["digits-no-reuse", "digits-10x", "digits-100x"],
    "glyphs": ["glyphs-no-reuse", "glyphs-10x", "glyphs-100x"],
}
"""Recipes by data set. They are compared with `<data set>-deep-inversion`."""
FILES = ("table.md", "table.csv", "runs.csv")


def main() -> None:
    """Compare the shipped recipes of each data set, and keep the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=list(SETTINGS), help="default: both data sets")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folders: dict[str, Path] = {}
    for data in [options.only] if options.only else SETTINGS:
        reference = f"{data}-deep-inversion"
        comparison, folders[data] = compare(
            SETTINGS[data], reference, seeds=options.seeds, say=print
        )
        print_comparison(comparison, print)
    for data, folder in folders.items():  # at the end: new files make the commit `-dirty`
        kept = RESULTS / f"speedup-{data}"
        kept.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(folder / name, kept / name)
        print(f"{kept}; report and pictures: {folder}")


if __name__ == "__main__":
    main()
