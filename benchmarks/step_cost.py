"""Cost of a synthesis step, a generative round and a student update, and their share of the peak.

    python -m benchmarks.step_cost [--quick] [--pair wrn-40-2/wrn-16-1 ...] [--threads 1]

The rounds of the generative methods are timed for the first case alone.
The package and the naive implementation (benchmarks/naive.py) are timed in turn in this process,
with random weights. The table goes to benchmarks/results/. The ratios are printed together with
those of the last committed table.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import naive
from benchmarks.cases import Case, pair_case, recipe_case
from benchmarks.generative_cost import GENERATIVE, generative_works
from benchmarks.inversion_cost import INVERSION, inversion_works
from benchmarks.results import compare, machine, write
from benchmarks.step_parts import synthesis_parts, update_parts
from benchmarks.timing import alternated, flops, matmul_peaks, precisions, seconds
from fastdfkd.core.captured import RECORDERS, WARM_UP
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.random_streams import stream
from fastdfkd.core.teacher_cache import BATCHES

PAIRS = (
    "wrn-40-2/wrn-16-1",
    "wrn-40-2/wrn-40-1",
    "wrn-40-2/wrn-16-2",
    "vgg11/resnet18",
    "resnet34/resnet18",
)
RECIPES = ("glyphs-fast5", "digits-fast5")
REUSES = (4, 16)
"""Values of `distillation.teacher_cache`: updates that share a view and the teacher's logits."""
GRAPHS = ", cuda_graphs"
"""Suffix of the rows whose steps are captured as CUDA graphs; only on CUDA."""


Measure = Callable[[Case, dict[str, float], int], list[dict[str, Any]]]


def synthesis_rows(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, Any]]:
    """Cost of a synthesised batch divided by its k steps: naive, float32, and bf16 if available."""
    z, labels = case.latents()
    types = precisions(case.device)
    ours: dict[str, FastSynthesizer] = {p: case.synthesizer(p) for p in types}
    if case.device.type in RECORDERS:
        ours |= {p + GRAPHS: case.synthesizer(p, capture=True) for p in types}
    theta = ours["float32"].meta.generator
    baseline = naive.NaiveSynthesizer(
        case.synthesis, theta, case.teacher, case.student, case.normalisation
    )

    def work(synthesizer: Any) -> Any:
        randomness = stream(0, "benchmark", device=case.device)
        return lambda: synthesizer.inner_loop(z, labels, True, randomness)

    works = {
        "naive": work(baseline),
        **{name: work(synthesizer) for name, synthesizer in ours.items()},
    }
    steps = case.synthesis.steps
    times = _times(works, case, repeats)
    bank = case.bank(4 * len(z))
    images = torch.rand(len(z), *case.image_shape, device=case.device)
    storage = alternated({"storage": lambda: case.store(images, bank)}, case.device, 5)["storage"]
    size = f"{case.synthesis.batch_size} images, k={steps}"
    rows = _rows(case, ("synthesis step", size), works, times, peaks, steps)
    for row in rows[1:]:
        row["storage_share"] = storage / times[row["precision"]]
        if row["precision"] in types:
            row["parts"] = synthesis_parts(case, ours[row["precision"]], z, labels, repeats)
    return rows


def inversion_rows(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, Any]]:
    """Cost of a batch of CMI and of NAYER, divided by its steps."""
    rows = []
    for method in INVERSION:
        size, works = inversion_works(case, method, GRAPHS)
        times = _times(works, case, repeats)
        what = f"{method} synthesis step", f"{case.synthesis.batch_size} images, {size}"
        rows += _rows(case, what, works, times, peaks, case.synthesis.steps)
    return rows


def distillation_rows(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, Any]]:
    """Cost of a student update with the data in memory; loading is measured separately."""
    batch = case.distillation.batch_size
    bank = case.bank(2 * batch)
    held = bank.images.float() / 255
    baseline = naive.NaiveDistiller(
        case.distillation, case.teacher, case.student, case.normalisation
    )
    randomness = stream(0, "benchmark", device=case.device)

    def naive_update() -> None:
        index = torch.randint(len(held), (batch,), generator=randomness, device=case.device)
        baseline.update(held[index], randomness)

    types = precisions(case.device)
    ours: dict[str, StudentDistiller] = {p: case.distiller(p) for p in types}
    if case.device.type in RECORDERS:
        ours |= {p + GRAPHS: case.distiller(p, capture=True) for p in types}
    for reuse, precision in itertools.product(REUSES, types):
        section = case.distillation.model_copy(update={"teacher_cache": reuse})
        cached = replace(case, distillation=section).distiller(precision)
        ours[f"{precision}, teacher_cache={reuse}"] = cached
        for _ in range(BATCHES):  # nothing is reused before the cache is full
            cached.update(bank)
    works: dict[str, Any] = {"naive": naive_update}
    for name, distiller in ours.items():
        works[name] = lambda distiller=distiller: distiller.update(bank)
    times = _times(works, case, repeats)
    rows = _rows(case, ("student update", f"{batch} images"), works, times, peaks, 1)
    loading = naive_loading(case, held[:batch])
    rows[0]["loading"] = loading
    for row in rows[1:]:
        row["ratio_with_loading"] = (times["naive"] + loading["batch"]) / times[row["precision"]]
        if row["precision"] in types:
            row["parts"] = update_parts(case, case.distiller(row["precision"]), repeats)
    return rows


def generative_rows(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, Any]]:
    """Cost of a round of each generative method, from the first noise to uint8 images."""
    rows = []
    for method in GENERATIVE:
        size, works = generative_works(case, method, GRAPHS)
        times = _times(works, case, repeats)
        rows += _rows(case, (f"{method} round", size), works, times, peaks, 1)
    return rows


def _times(works: dict[str, Any], case: Case, repeats: int) -> dict[str, float]:
    """Median seconds of each work. CUDA graphs are recorded before."""
    for name in works:
        for _ in range(WARM_UP + 2 if name.endswith(GRAPHS) else 0):
            works[name]()
    return alternated(works, case.device, repeats)


def naive_loading(case: Case, images: torch.Tensor) -> dict[str, float]:
    """Seconds to save a batch as PNG files, and to read it with a new DataLoader.

    This is a lower bound: the folder contains one batch only, so listing a large folder does not
    count.
    """
    section, cpu = case.distillation, torch.device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save = seconds(lambda: naive.save_pngs(images, folder, 0), cpu)

        def read() -> None:
            args = (len(images), section.crop_padding, section.flip, section.invert)
            next(naive.loader(folder, *args)).to(case.device)

        return {"save": save, "batch": alternated({"read": read}, cpu, 3)["read"]}


def _rows(
    case: Case,
    what: tuple[str, str],
    works: dict[str, Any],
    times: dict[str, float],
    peaks: dict[str, float],
    steps: int,
) -> list[dict[str, Any]]:
    rows = []
    for name in works:
        # The counter does not see the operations of a replay, so count the step without capture.
        operations = flops(works[name.removesuffix(GRAPHS)])
        peak = peaks["bfloat16" if name.startswith("bfloat16") else "float32"]
        rows.append(
            {
                "case": case.name,
                "what": what[0],
                "size": what[1],
                "precision": name,
                "gflop": operations / steps / 1e9,
                "seconds": times[name] / steps,
                "share_of_peak": operations / times[name] / peak,
                "ratio": times["naive"] / times[name],
            }
        )
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
