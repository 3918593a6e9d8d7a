"""How much faster, and at what accuracy: `fastdfkd compare` on the sample recipes.

    python -m benchmarks.speedup [--seeds 3] [--out benchmarks/results/speedup]

Writes a folder a data set (table.md, table.csv, runs.csv, report.html, pictures), with hardware
and commit in the table's notes. Data sets whose reference recipe does not ship are said and left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastdfkd.recipe import shipped_recipes
from fastdfkd.tuning.comparison import compare
from fastdfkd.tuning.printing import print_comparison

SETTINGS = {
    "digits": ("digits-deep-inversion", ["digits-fast10", "digits-fast5", "digits-fast2"]),
    "glyphs": ("glyphs-deep-inversion", ["glyphs-fast10", "glyphs-fast5", "glyphs-fast2"]),
}
"""Data set to the reference and the settings compared with it."""


def main() -> None:
    """Compare what ships, data set by data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/speedup"))
    chosen = parser.parse_args()
    shipped = {file.stem for file in shipped_recipes()}
    for data, (reference, settings) in SETTINGS.items():
        there = [setting for setting in settings if setting in shipped]
        if reference not in shipped or not there:
            print(f"{data}: left out, {reference} does not ship")
            continue
        comparison, folder = compare(
            there, reference, seeds=chosen.seeds, out=chosen.out / data, say=print
        )
        print_comparison(comparison)
        print(f"{folder}")


if __name__ == "__main__":
    main()
