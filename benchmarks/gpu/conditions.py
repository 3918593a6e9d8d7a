"""What the parts of a look share: the conditions of a measurement, and the measured networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import Case, pair_case
from benchmarks.gpu.session import Look
from benchmarks.results import machine

ROOT = Path(__file__).resolve().parents[2]
LARGE = "resnet34/resnet18", 224
"""A pair with images of 224 pixels."""


def conditions(look: Look) -> dict[str, Any]:
    """The conditions of a measurement."""
    return machine(look.device, torch.get_num_threads(), "gpu")


def case_of(look: Look, pair: str, side: int = 32) -> Case:
    """A pair of networks with the paper's batches, or with small ones on a CPU."""
    images, steps, batch = (4, 2, 4) if look.small else (256, 5, 256)
    if side > 32 and not look.small:
        images, batch = 64, 64
    return pair_case(pair, look.device, images, steps, batch, side)
