"""Cost of a round of each generative method: a generator step, and the images of a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case
from benchmarks.naive_generative import NaiveGenerative
from benchmarks.timing import precisions
from fastdfkd.core.captured import RECORDERS
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.recipe import METHODS

GENERATIVE = ("dafl", "zskt", "dfq", "dfad")
UPDATES = 5
"""Student updates of a round, each on as many images as a generator step has."""


def generative_works(
    case: Case, method: str, graphs: str
) -> tuple[str, dict[str, Callable[[], object]]]:
    """The rounds to time, the naive one first.

    Args:
        case: networks and images of a generator step.
        method: a name from `GENERATIVE`.
        graphs: suffix of the names of rounds whose step is a CUDA graph.

    Returns:
        The size of a round in words, and a function without arguments for each implementation.
    """
    count = case.synthesis.batch_size
    section: Any = METHODS[method](
        method=method, batch_size=UPDATES * count, generator_batch_size=count
    )
    types = precisions(case.device)
    tasks = {precision: case.task(precision) for precision in types}
    if case.device.type in RECORDERS:
        tasks |= {precision + graphs: case.task(precision, capture=True) for precision in types}
    ours: dict[str, Any] = {name: build_synthesizer(section, task) for name, task in tasks.items()}
    generator = ours["float32"].shared.generator
    baseline = NaiveGenerative(section, generator, case.teacher, case.student, case.normalisation)

    def naive_round() -> None:
        sizes = (count, UPDATES * count)
        step, images = (torch.randn(n, section.latent_dim, device=case.device) for n in sizes)
        baseline.round([step], images)

    def our_round(synthesizer: Any) -> Callable[[], object]:
        return lambda: synthesizer.synthesize(0)

    works = {"naive": naive_round, **{name: our_round(made) for name, made in ours.items()}}
    return f"{count} images a step, {UPDATES * count} a round", works
