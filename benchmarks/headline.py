"""Total speed-up of Fast-5 in this package over a naive DeepInversion.

    python -m benchmarks.headline [CASE ...] [--teacher-cache 4]

A case is a sample recipe or a CIFAR pair `teacher/student` with the paper's schedule. Both sides
make the same number of images and student updates with the same networks. The networks have random
weights, which cost the same time. The cost per image and per update of both sides is measured in
this process, in turn, and multiplied by these numbers. So all totals are extrapolated, and the
table says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import naive
from benchmarks.cases import SAMPLES, Case, pair_case, recipe_case
from benchmarks.naive_deep_inversion import NaiveDeepInversion
from benchmarks.results import FOLDER, heading, machine, machine_name
from benchmarks.step_rows import naive_loading
from benchmarks.timing import Work, alternated
from fastdfkd.core.random_streams import stream
from fastdfkd.core.teacher_cache import BATCHES
from fastdfkd.recipe import DeepInversionSynthesis, load_recipe

CASES = ("wrn-40-2/wrn-16-1", "glyphs-fast5", "digits-fast5")
PAPER = {"images": 56_320, "updates": 80_000}
"""220 rounds of 256 images; 200 rounds of 400 updates of 256."""
STEPS = 2000
"""Steps of DeepInversion. All steps cost the same."""


def case_and_counts(name: str, device: torch.device) -> tuple[Case, dict[str, int]]:
    """A case with the batch sizes of its schedule, and the numbers of images and updates."""
    if "/" in name:
        return pair_case(name, device, 256, 5, 256), PAPER
    recipe = load_recipe(SAMPLES / f"{name}.yaml")
    synthesis, batch = recipe.synthesis, recipe.distillation.batch_size
    case = recipe_case(name, device, synthesis.batch_size, 5, batch)
    return case, {"images": synthesis.rounds * synthesis.batch_size, "updates": recipe.updates}


def measure(
    case: Case, counts: dict[str, int], caches: Sequence[int | None], repeats: int
) -> list[dict[str, Any]]:
    """Cost per image and per update of both sides, totals and speed-ups.

    Returns one row for each of `caches`, which are values of `distillation.teacher_cache`.
    """
    works = {**_naive_works(case), **_our_works(case, caches)}
    seconds = alternated(works, case.device, repeats)
    pixels = torch.rand(case.distillation.batch_size, *case.image_shape, device=case.device)
    loading = naive_loading(case, pixels)
    rows = []
    for cache in caches:
        costs = {
            "naive": {
                "synthesis an image": seconds["inversion"] * STEPS / _inverted(case),
                "storage an image": loading["save"] / len(pixels),
                "distillation an update": seconds["naive update"] + loading["batch"],
            },
            "ours": {
                "synthesis an image": seconds["batch"] / case.synthesis.batch_size,
                "storage an image": seconds["store"] / case.synthesis.batch_size,
                "distillation an update": seconds[f"update, {cache}"],
            },
        }
        totals = {
            side: sum(
                cost * counts["updates" if "update" in what else "images"]
                for what, cost in parts.items()
            )
            for side, parts in costs.items()
        }
        images = [costs[side]["synthesis an image"] for side in ("naive", "ours")]
        rows.append(
            {
                "case": case.name,
                **counts,
                "teacher_cache": cache,
                "seconds": costs,
                "extrapolated_seconds": totals,
                "synthesis_speedup": images[0] / images[1],
                "end_to_end_speedup": totals["naive"] / totals["ours"],
            }
        )
    return rows


def _inverted(case: Case) -> int:
    """Images per DeepInversion batch: an image costs the same in a batch of 64 as in one of 256."""
    return min(64, case.synthesis.batch_size)


def _naive_works(case: Case) -> dict[str, Work]:
    """One DeepInversion step on a new batch, and one student update on images in memory."""
    inversion = NaiveDeepInversion(
        DeepInversionSynthesis(method="deep_inversion"),
        case.teacher,
        case.student,
        case.normalisation,
    )
    distiller = naive.NaiveDistiller(
        case.distillation, case.teacher, case.student, case.normalisation
    )
    shape, batch = case.image_shape, case.distillation.batch_size
    held = torch.rand(2 * batch, *shape, device=case.device)
    randomness = stream(0, "headline", device=case.device)

    def step() -> None:
        x = torch.randn(_inverted(case), *shape, device=case.device)
        labels = torch.randint(case.num_classes, (len(x),), device=case.device)
        inversion.optimise(x, labels, [[1, -1, 1]])

    def update() -> None:
        index = torch.randint(len(held), (batch,), generator=randomness, device=case.device)
        distiller.update(held[index], randomness)

    return {"inversion": step, "naive update": update}


def _our_works(case: Case, caches: Sequence[int | None]) -> dict[str, Work]:
    """One batch with its meta-update, its storage, and a student update with each cache."""
    synthesizer = case.synthesizer("auto")
    bank = case.bank(2 * case.distillation.batch_size)
    images = torch.rand(case.synthesis.batch_size, *case.image_shape, device=case.device)
    store = case.bank(4 * len(images))
    works: dict[str, Work] = {
        "batch": lambda: synthesizer.synthesize(case.synthesis.warmup_rounds),
        "store": lambda: case.store(images, store),
    }
    for cache in caches:
        section = case.distillation.model_copy(update={"teacher_cache": cache})
        distiller = replace(case, distillation=section).distiller("auto")
        for _ in range(BATCHES if cache else 0):  # nothing is reused before the cache is full
            distiller.update(bank)
        works[f"update, {cache}"] = partial(distiller.update, bank)
    return works


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        *heading("DeepInversion done naively against Fast-5, end to end", record),
        "One process. The naive side: eager float32, NCHW, PNG folder, a DataLoader rebuilt in "
        f"each round. DeepInversion: {STEPS} steps; the cost of a step is measure on new batches. "
        "**All totals are extrapolated** from the cost per image and per update to the case's "
        "images and updates, one role after the other on both sides; that the folder of the naive "
        "side grows is left out. `cache`: updates that share a view and the teacher's logits "
        "(`distillation.teacher_cache`).",
        "",
        "| case | images | updates | cache | | synthesis, s an image | storage, ms an image "
        "| distillation, s an update | total, h (extrapolated) | synthesis | end to end |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        for side in ("naive", "ours"):
            synthesis, storage, update = row["seconds"][side].values()
            speedups = (row["synthesis_speedup"], row["end_to_end_speedup"])
            shown = ["1x", "1x"] if side == "naive" else [f"{s:.3g}x" for s in speedups]
            lines.append(
                f"| {row['case']} | {row['images']:,} | {row['updates']:,} "
                f"| {row['teacher_cache'] or '-'} | {side} | {synthesis:.3g} "
                f"| {1e3 * storage:.2g} | {update:.3g} "
                f"| {row['extrapolated_seconds'][side] / 3600:.3g} | {' | '.join(shown)} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--teacher-cache", type=int, default=4, help="measure besides no cache")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (process CPU time)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for name in options.cases:
        caches = (None, options.teacher_cache)
        case_rows = measure(*case_and_counts(name, device), caches, options.repeats)
        for row in case_rows:
            print(name, row["teacher_cache"], f"{row['end_to_end_speedup']:.3g}x", flush=True)
        rows += case_rows
    record = {**machine(device, options.threads, "headline"), "rows": rows}
    base = FOLDER / f"headline-{machine_name()}"
    Path(f"{base}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Path(f"{base}.md").write_text(table(record), encoding="utf-8")
    print(table(record))


if __name__ == "__main__":
    main()
