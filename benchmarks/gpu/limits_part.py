"""The part `limits`: what bounds a step of each role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.cases import Case
from benchmarks.gpu.conditions import case_of, conditions
from benchmarks.gpu.session import Look
from benchmarks.gpu.step_limits import profiled
from benchmarks.timing import flops, precisions
from fastdfkd.core.captured import RECORDERS, WARM_UP
from fastdfkd.core.random_streams import stream


def ways(look: Look) -> Iterator[tuple[str, str, bool]]:
    """Each precision without and, where there are graphs, with them: name, precision, capture."""
    for precision in precisions(look.device):
        yield precision, precision, False
        if look.device.type in RECORDERS:
            yield f"{precision}, cuda_graphs", precision, True


def works_of(case: Case, precision: str, capture: bool) -> dict[str, Callable[[], object]]:
    """A call of each role: a batch of synthesis, and a student update."""
    synthesizer, distiller = (
        case.synthesizer(precision, capture),
        case.distiller(precision, capture),
    )
    bank = case.bank(2 * case.distillation.batch_size)
    z, labels = case.latents()
    randomness = stream(0, "benchmark", device=case.device)
    return {
        "synthesis": lambda: synthesizer.inner_loop(z, labels, True, randomness),
        "update": lambda: distiller.update(bank),
    }


def limits(look: Look) -> str:
    """Kernels, launches, idle gaps and the next limit of each role, in each way."""
    case, rows = case_of(look, look.pair), []
    counted: dict[str, int] = {}
    for name, precision, capture in ways(look):
        for role, work in works_of(case, precision, capture).items():
            for _ in range(1 if look.small else WARM_UP + 2):
                work()
            if role not in counted:  # a replay's operations cannot be counted
                counted[role] = flops(work)
            peak = look.peaks[precision]
            calls = 1 if look.small else 5
            found = profiled(work, look.device, counted[role], peak, calls)
            rows.append({"case": look.pair, "role": role, "way": name, **found.row()})
            look.write("limits", {**conditions(look), "rows": rows}, limits_table(rows))
    return "; ".join(f"{row['role']}, {row['way']}: {row['next_limit']}" for row in rows[-2:])


def limits_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `limits` as Markdown."""
    lines = [
        "# What bounds a call",
        "",
        "| role | | kernels | launches | busy, ms | idle, ms | GFLOP/s | of peak | next limit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['role']} | {row['way']} | {row['kernels']:.0f} | {row['launches']:.0f} "
        f"| {1e3 * row['busy_seconds']:.3g} | {1e3 * row['idle_seconds']:.3g} "
        f"| {row['flops_per_second'] / 1e9:.4g} | {row['share_of_peak']:.1%} "
        f"| {row['next_limit']} |"
        for row in rows
    ]
    return "\n".join(lines)
