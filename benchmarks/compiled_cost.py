"""What torch's compiler does to a student update and to a synthesis step, and what it takes.

    python -m benchmarks.compiled_cost [--pair wrn-40-2/wrn-16-1] [--roles update] [--batch 32]

Each part that a step may compile is compiled, compared with the plain part and timed beside it, as
`platform.compile` does at the start of a run (`fastdfkd/core/compiled.py`). Then whole steps, plain
and compiled, are timed in turn. On CUDA both are CUDA graphs. Weights are random. The table goes to
benchmarks/results/. Compiled kernels that are still in the compiler's folder are not compiled
again: set TORCHINDUCTOR_CACHE_DIR to an empty folder to measure the first time.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case, pair_case
from benchmarks.results import FOLDER, heading, machine, machine_name
from benchmarks.timing import Work, alternated, precisions
from fastdfkd.core.captured import RECORDERS, WARM_UP
from fastdfkd.core.compiled import Compiling
from fastdfkd.core.random_streams import stream

Row = dict[str, Any]


def compiled_rows(case: Case, role: str, precision: str, repeats: int) -> list[Row]:
    """A row for each part of a role, and one for a whole step.

    Args:
        case: networks and batches.
        role: a name from `ROLES`.
        precision: of the role.
        repeats: timed calls of a whole step.
    """
    capture = case.device.type in RECORDERS
    plain, _ = ROLES[role](case, precision, capture, False)
    compiled, compiling = ROLES[role](case, precision, capture, True)
    works = {"plain": plain, "compiled": compiled}
    for work in works.values():
        for _ in range(WARM_UP + 2 if capture else 1):
            work()
    times = alternated(works, case.device, repeats)
    steps = case.synthesis.steps if role == "synthesis" else 1
    common = {"case": case.name, "role": role, "precision": precision, "graphs": capture}
    parts = [
        {
            **common,
            "part": part.name,
            "plain_seconds": part.timings.plain_seconds,
            "compiled_seconds": part.timings.compiled_seconds,
            "compile_seconds": part.timings.compile_seconds,
        }
        if part.timings
        else {**common, "part": part.name, "failed": part.note}
        for part in compiling.parts
    ]
    whole = {
        **common,
        "part": "whole step",
        "plain_seconds": times["plain"] / steps,
        "compiled_seconds": times["compiled"] / steps,
        "compile_seconds": sum(part.get("compile_seconds", 0.0) for part in parts),
    }
    return [*parts, whole]


def _update(case: Case, precision: str, capture: bool, wish: bool) -> tuple[Work, Compiling]:
    distiller = case.distiller(precision, capture, wish)
    bank = case.bank(2 * case.distillation.batch_size)
    return lambda: distiller.update(bank), distiller.compiling


def _synthesis(case: Case, precision: str, capture: bool, wish: bool) -> tuple[Work, Compiling]:
    synthesizer = case.synthesizer(precision, capture, wish)
    z, labels = case.latents()
    randomness = stream(0, "benchmark", device=case.device)
    return (
        lambda: synthesizer.inner_loop(z, labels, True, randomness),
        synthesizer.objective.compiling,
    )


ROLES: dict[str, Callable[[Case, str, bool, bool], tuple[Work, Compiling]]] = {
    "update": _update,
    "synthesis": _synthesis,
}
"""What makes a step of a role, by the name that `--roles` takes."""


def compiled_table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "A part alone, forward and backward, wall time; a whole step: processor time on a CPU.",
        "",
        "| case | role | part | | plain, ms | compiled, ms | plain / compiled | compiling, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        begin = f"| {row['case']} | {row['role']} | {row['part']} | {row['precision']} "
        if "failed" in row:
            lines.append(f"{begin}| {row['failed']} | | | |")
            continue
        plain, compiled = row["plain_seconds"], row["compiled_seconds"]
        lines.append(
            f"{begin}| {1e3 * plain:.4g} | {1e3 * compiled:.4g} | {plain / compiled:.2f}x "
            f"| {row['compile_seconds']:.3g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pair", default="wrn-40-2/wrn-16-1", help="teacher/student")
    parser.add_argument("--images", type=int, default=32, help="images per synthesised batch")
    parser.add_argument("--batch", type=int, default=32, help="images per student update")
    parser.add_argument("--steps", type=int, default=2, help="inner steps k")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--roles", nargs="*", choices=ROLES, default=list(ROLES))
    parser.add_argument("--precisions", nargs="*", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    case = pair_case(options.pair, device, options.images, options.steps, options.batch)
    conditions = machine(device, options.threads, "compiled_cost")
    size = f"{options.images} images a synthesised batch, {options.batch} an update"
    base = FOLDER / f"compiled_cost-{machine_name()}"
    rows: list[Row] = []
    types = options.precisions or precisions(device)
    for role, precision in itertools.product(options.roles, types):
        rows += compiled_rows(case, role, precision, options.repeats)
        table = compiled_table(rows)
        print(table, flush=True)
        record = {**conditions, "size": size, "rows": rows}
        base.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        text = [*heading("Compiled and plain steps", conditions), f"{size}.", "", table]
        base.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")
    print("written:", base)


if __name__ == "__main__":
    main()
