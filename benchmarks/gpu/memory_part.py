"""The part `memory`: peak memory of each role, and the largest batch of a card."""

from __future__ import annotations

import gc
from typing import Any

import torch

from benchmarks.cases import pair_case
from benchmarks.gpu.conditions import LARGE, conditions
from benchmarks.gpu.memory_model import CARDS_GB, MemoryModel
from benchmarks.gpu.session import Look
from benchmarks.timing import precisions
from fastdfkd.core.captured import RECORDERS, WARM_UP
from fastdfkd.core.memory import forget_peak_memory, peak_memory_bytes, return_freed_memory
from fastdfkd.core.random_streams import stream


def memory(look: Look) -> str:
    """Peak memory of each role as a line in the batch, and the largest batch of a card."""
    rows = []
    precision = precisions(look.device)[-1]
    through, checked = ((16, 64), (32, 48)) if look.small else ((64, 256), (128, 512))
    cases = [(look.pair, 32), ("resnet34/resnet18", 32), ("vgg11/resnet18", 32), LARGE]
    for pair, side in cases[:1] if look.small else cases:
        if side > 32:
            through, checked = (8, 32), (16, 48)
        for role in ("synthesis", "update"):

            def peak(images: int, role: str = role, pair: str = pair, side: int = side) -> float:
                return peak_bytes(look, pair, side, role, images, precision)

            model = MemoryModel.of(peak, through, checked)
            rows.append(
                {
                    "case": f"{pair}, {side} pixels",
                    "role": role,
                    "precision": precision,
                    "fixed_bytes": model.fixed_bytes,
                    "per_image_bytes": model.per_image_bytes,
                    "errors": model.errors,
                    "largest_batch": {card: model.largest_batch(card) for card in CARDS_GB},
                }
            )
            look.write("memory", {**conditions(look), "rows": rows}, memory_table(rows))
    return f"{len(rows)} roles, the worst error of the line {_worst(rows):.1%}"


def _worst(rows: list[dict[str, Any]]) -> float:
    return max(abs(error) for row in rows for error in row["errors"])


def peak_bytes(look: Look, pair: str, side: int, role: str, images: int, precision: str) -> float:
    """Peak bytes of a role with a batch, beyond those before it was built."""
    gc.collect()  # what was built before refers to itself
    if look.device.type == "cuda":
        torch.cuda.empty_cache()
    return_freed_memory()
    before = forget_peak_memory(look.device)
    case = pair_case(pair, look.device, images, 2, images, side)
    capture = look.device.type in RECORDERS
    built: Any
    if role == "synthesis":
        built = case.synthesizer(precision, capture)
        z, labels = case.latents()
        randomness = stream(0, "memory", device=look.device)
        for _ in range(WARM_UP + 1):
            built.inner_loop(z, labels, True, randomness)
    else:
        built = case.distiller(precision, capture)
        bank = case.bank(2 * images)
        for _ in range(WARM_UP + 1):
            built.update(bank)
    found = peak_memory_bytes(look.device) - before
    built.release()
    return float(found)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `memory` as Markdown."""
    cards = " | ".join(f"{card} GB" for card in CARDS_GB)
    lines = [
        "# Peak memory and the largest batch",
        "",
        f"| case | role | | fixed, MB | an image, MB | error of the line | {cards} |",
        "|---" * (6 + len(CARDS_GB)) + "|",
    ]
    for row in rows:
        fixed, per_image = row["fixed_bytes"] / 1e6, row["per_image_bytes"] / 1e6
        errors = ", ".join(f"{error:+.1%}" for error in row["errors"])
        batches = " | ".join(f"{row['largest_batch'][card]:,}" for card in CARDS_GB)
        lines.append(
            f"| {row['case']} | {row['role']} | {row['precision']} | {fixed:.4g} "
            f"| {per_image:.3g} | {errors} | {batches} |"
        )
    return "\n".join(lines)
