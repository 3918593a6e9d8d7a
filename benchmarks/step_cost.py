"""Cost of a synthesis step, a generative round and a student update, and their share of the peak.

    python -m benchmarks.step_cost [--quick] [--pair wrn-40-2/wrn-16-1 ...] [--threads 1]

The rounds of the generative methods are timed for the first case alone.
The package and the naive implementation (benchmarks/naive.py) are timed in turn in this process,
with random weights. The table goes to benchmarks/results/. The ratios are printed together with
those of the last committed table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case, pair_case, recipe_case
from benchmarks.generative_cost import GENERATIVE, generative_works
from benchmarks.inversion_cost import INVERSION, inversion_works
from benchmarks.results import compare, machine, write
from benchmarks.step_rows import GRAPHS, distillation_rows, rows_of, synthesis_rows, times_of
from benchmarks.timing import matmul_peaks

PAIRS = (
    "wrn-40-2/wrn-16-1",
    "wrn-40-2/wrn-40-1",
    "wrn-40-2/wrn-16-2",
    "vgg11/resnet18",
    "resnet34/resnet18",
)
RECIPES = ("glyphs-fast5", "digits-fast5")

Measure = Callable[[Case, dict[str, float], int], list[dict[str, Any]]]


def inversion_rows(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, Any]]:
    """Cost of a batch of CMI and of NAYER, divided by its steps."""
    rows = []
    for method in INVERSION:
        size, works = inversion_works(case, method, GRAPHS)
        times = times_of(works, case, repeats)
        what = f"{method} synthesis step", f"{case.synthesis.batch_size} images, {size}"
        rows += rows_of(case, what, works, times, peaks, case.synthesis.steps)
    return rows


def generative_rows(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, Any]]:
    """Cost of a round of each generative method, from the first noise to uint8 images."""
    rows = []
    for method in GENERATIVE:
        size, works = generative_works(case, method, GRAPHS)
        times = times_of(works, case, repeats)
        rows += rows_of(case, (f"{method} round", size), works, times, peaks, 1)
    return rows


def cases(options: argparse.Namespace, device: torch.device) -> list[Case]:
    """The cases to measure. Batches are small on a CPU: the cost is linear in the images."""
    default = (128, 5, 256) if device.type == "cuda" else (64, 2, 128)
    default = (32, 2, 64) if options.quick else default
    given = (options.images, options.steps, options.batch)
    images, steps, batch = (g or d for g, d in zip(given, default, strict=True))
    pairs = options.pair or (PAIRS[:1] if options.quick else PAIRS)
    recipes = [] if options.pair else (RECIPES[:1] if options.quick else RECIPES)
    pair_cases = [pair_case(pair, device, images, steps, batch) for pair in pairs]
    return pair_cases + [recipe_case(name, device, images, steps, batch) for name in recipes]


MEASURES: dict[str, Measure] = {
    "synthesis": synthesis_rows,
    "inversion": inversion_rows,
    "generative": generative_rows,
    "distillation": distillation_rows,
}
"""What is measured for each case, by the name that `--only` takes."""


def main() -> None:
    """Measure, compare with the last committed table, write the new one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one pair and one recipe, 2 minutes")
    parser.add_argument("--pair", nargs="*", help="teacher/student, names of the model table")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (process CPU time)")
    parser.add_argument("--images", type=int, help="images per synthesised batch")
    parser.add_argument("--steps", type=int, help="inner steps k")
    parser.add_argument("--batch", type=int, help="images per student update")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=MEASURES, help="measure this alone; writes no table")
    options = parser.parse_args()
    measures = {k: v for k, v in MEASURES.items() if options.only in (None, k)}
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peaks: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(cases(options, device)):
        peaks = matmul_peaks(device)  # for each case: the speed of a shared machine changes
        if number and not options.only:
            measures.pop("generative", None)  # they are measured for the first case alone
        for measure in measures.values():
            case_rows = measure(case, peaks, options.repeats)
            print(*compare(case_rows, options.quick), sep="\n", flush=True)
            rows += case_rows
    if options.only:
        return
    record = {**machine(device, options.threads), "peak_gflops": peaks, "rows": rows}
    print("written:", *write(record, options.quick, partial=bool(options.pair)))


if __name__ == "__main__":
    main()
