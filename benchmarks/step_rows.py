"""Rows of the table of step costs: a synthesis step and a student update, naive and ours.

It needs torch alone: loading from PNG files is measured where NumPy and Pillow are installed.
"""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import naive
from benchmarks.cases import Case
from benchmarks.step_parts import synthesis_parts, update_parts
from benchmarks.timing import alternated, flops, precisions, seconds
from fastdfkd.core.captured import RECORDERS, WARM_UP
from fastdfkd.core.chained_updates import LENGTH
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.random_streams import stream
from fastdfkd.core.teacher_cache import BATCHES

REUSES = (4, 16)
"""Values of `distillation.teacher_cache`: updates that share a view and the teacher's logits."""
GRAPHS = ", cuda_graphs"
"""Suffix of the rows whose steps are captured as CUDA graphs; only on CUDA."""


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
    times = times_of(works, case, repeats)
    bank = case.bank(4 * len(z))
    images = torch.rand(len(z), *case.image_shape, device=case.device)
    storage = alternated({"storage": lambda: case.store(images, bank)}, case.device, 5)["storage"]
    size = f"{case.synthesis.batch_size} images, k={steps}"
    rows = rows_of(case, ("synthesis step", size), works, times, peaks, steps)
    for row in rows[1:]:
        row["storage_share"] = storage / times[row["precision"]]
        if row["precision"] in types:
            row["parts"] = synthesis_parts(case, ours[row["precision"]], z, labels, repeats)
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
    chained = f"{types[-1]}{GRAPHS}, {LENGTH} in a replay"
    if case.device.type in RECORDERS:
        several = case.distiller(types[-1], capture=True)
        works[chained] = lambda: several.update_many(bank, LENGTH)
    times = times_of(works, case, repeats)
    if chained in times:
        times[chained] /= LENGTH
    rows = rows_of(case, ("student update", f"{batch} images"), works, times, peaks, 1)
    if all(importlib.util.find_spec(name) for name in ("numpy", "PIL")):
        loading = rows[0]["loading"] = naive_loading(case, held[:batch])
        for row in rows[1:]:
            with_loading = times["naive"] + loading["batch"]
            row["ratio_with_loading"] = with_loading / times[row["precision"]]
    for row in rows[1:]:
        if row["precision"] in types:
            row["parts"] = update_parts(case, case.distiller(row["precision"]), repeats)
    return rows


def times_of(works: dict[str, Any], case: Case, repeats: int) -> dict[str, float]:
    """Median seconds of each work. CUDA graphs are recorded before."""
    for name in works:
        for _ in range(WARM_UP + 2 if GRAPHS in name else 0):
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


def rows_of(
    case: Case,
    what: tuple[str, str],
    works: dict[str, Any],
    times: dict[str, float],
    peaks: dict[str, float],
    steps: int,
) -> list[dict[str, Any]]:
    """A row for each of `works`: operations, seconds, share of the peak, ratio to the naive one.

    Args:
        case: the networks.
        what: the step's name, and its size.
        works: each runs so many steps.
        times: seconds of each.
        peaks: FLOP/s of a matrix product, by precision.
        steps: steps of a call.
    """
    rows = []
    for name in works:
        # The counter does not see the operations of a replay, so count the step without capture.
        operations = flops(works[name.partition(GRAPHS)[0]])
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
