"""Labels that are balanced over rounds: they run through all classes before any comes again.

This project's own, for tasks with more classes than a batch has images (`balance_over: rounds`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastdfkd.core.random_streams import stream


def classes_of_round(
    seed: int, round: int, count: int, num_classes: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The classes of a round, (count,) int64 on `device`.

    The rounds of a run take turns in an endless sequence of passes over the classes, each in an
    order of its own. A round's classes depend on the seed and on its number alone, so each
    synthesizer knows its own.

    Args:
        seed: of the run.
        round: number of the round, whose labels begin at `round * count` in the sequence.
        count: labels of every round.
        num_classes: K.
        device: of the result.
    """
    first, last = round * count, (round + 1) * count
    passes = range(first // num_classes, (last - 1) // num_classes + 1)
    orders = [torch.randperm(num_classes, generator=stream(seed, "class-pass", p)) for p in passes]
    start = first - passes.start * num_classes
    return torch.cat(orders)[start : start + count].to(device)
