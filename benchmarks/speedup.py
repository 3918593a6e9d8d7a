"""How much faster, and at what accuracy: `fastdfkd compare` on the sample recipes.

    python -m benchmarks.speedup [--only digits] [--seeds 3]

The 1x is DeepInversion with 2000 steps on a few images, whose cost an image is measured. Beside it
stands a second reference, a generator made anew for every batch (500 steps), as in CMI.

Writes `benchmarks/results/speedup-<data set>/`: table.md, table.csv and runs.csv, with hardware and
commit in the table's notes. Runs, pictures and report.html go to `runs/`. What was broken off is
gone on with by the same command: finished runs of the same commit are re-used. `python -m
benchmarks.readme_table` then puts the tables into README.md.
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
"""Data set to what is compared with its `<data set>-deep-inversion`."""
FILES = ("table.md", "table.csv", "runs.csv")


def main() -> None:
    """Compare what ships, data set by data set, and keep the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=list(SETTINGS), help="unset: both data sets")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    folders: dict[str, Path] = {}
    for data in [chosen.only] if chosen.only else SETTINGS:
        reference = f"{data}-deep-inversion"
        comparison, folders[data] = compare(
            SETTINGS[data], reference, seeds=chosen.seeds, say=print
        )
        print_comparison(comparison, print)
    for data, folder in folders.items():  # last: a changed checkout has no commit to its name
        kept = RESULTS / f"speedup-{data}"
        kept.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(folder / name, kept / name)
        print(f"{kept}; report and pictures: {folder}")


if __name__ == "__main__":
    main()
