"""The part `compiled`: what torch's compiler does to a step of each role, and how long it takes."""

from __future__ import annotations

from typing import Any

from benchmarks.compiled_cost import ROLES, compiled_rows, compiled_table
from benchmarks.gpu.conditions import case_of, conditions
from benchmarks.gpu.session import Look
from benchmarks.timing import precisions


def compiled(look: Look) -> str:
    """The student update and the synthesis step of the first pair, plain and compiled."""
    case, rows = case_of(look, look.pair), list[dict[str, Any]]()
    for precision in reversed(precisions(look.device)):  # bfloat16 is what runs on a GPU use
        for role in ROLES:
            rows += compiled_rows(case, role, precision, look.repeats)
            look.write("compiled", {**conditions(look), "rows": rows}, compiled_table(rows))
    ratios = [
        f"{row['role']} {row['plain_seconds'] / row['compiled_seconds']:.2f}x"
        for row in rows
        if row["part"] == "whole step"
    ]
    return ", ".join(ratios)
