"""Cost of a batch of CMI and of NAYER, beside a plain transcription of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case
from benchmarks.naive_cmi import NaiveCMI
from benchmarks.naive_nayer import NaiveNAYER
from benchmarks.timing import precisions
from fastdfkd.core.captured import RECORDERS
from fastdfkd.core.methods.cmi import CMISynthesizer
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.methods.nayer import NAYER
from fastdfkd.core.random_streams import stream
from fastdfkd.recipe import CMISynthesis, NAYERSynthesis

CMI_MEMORY = 40_960, 4096
"""Rows of CMI's memory, and those that a step draws."""
CMI_MEMORY_CPU = 4096, 512
"""The same on a CPU."""


def _shared(case: Case) -> dict[str, Any]:
    """The keys that a case sets in every section."""
    keys = ("batch_size", "steps", "generator_width", "crop_padding", "flip")
    return {key: getattr(case.synthesis, key) for key in keys}


def cmi_synthesizer(
    case: Case, precision: Any, *, memory: int, draws: int, capture: bool = False
) -> CMISynthesizer:
    """CMI for a case, with a full memory of random features."""
    section = CMISynthesis(
        method="cmi",
        latent_dim=case.synthesis.latent_dim,
        memory=memory,
        memory_draws=draws,
        **_shared(case),
    )
    ours = CMISynthesizer(section, case.task(precision, capture))
    assert ours.contrast is not None
    rows = torch.randn(memory, ours.contrast.memory.rows.shape[1], generator=stream(0, "memory"))
    ours.contrast.memory.extend(rows.to(case.device))
    return ours


def nayer_synthesizer(case: Case, precision: Any, *, capture: bool = False) -> NAYER:
    """NAYER for a case, with vectors and codes of the paper's lengths."""
    section = NAYERSynthesis(method="nayer", **_shared(case))
    return NAYER(section, case.task(precision, capture))


def batch_draws(ours: CMISynthesizer | NAYER, case: Case) -> RandomInputs:
    """The random inputs of a batch, the same at each call. Each class comes equally often."""
    randomness = stream(0, "benchmark", device=case.device)
    noise = torch.randn(ours.noise_shape, generator=randomness, device=case.device)
    labels = torch.arange(case.synthesis.batch_size, device=case.device) % case.num_classes
    return RandomInputs(0, noise, labels, randomness)


def inversion_works(
    case: Case, method: str, graphs: str
) -> tuple[str, dict[str, Callable[[], object]]]:
    """The batches to time, the naive one first.

    Args:
        case: networks, images and steps.
        method: a name from `INVERSION`.
        graphs: suffix of the names of batches whose step is a CUDA graph.

    Returns:
        The size of a batch in words, and a function without arguments for each implementation.
    """
    size, build, baseline_of = INVERSION[method](case)
    types = precisions(case.device)
    ours = {precision: build(precision, False) for precision in types}
    if case.device.type in RECORDERS:
        ours |= {precision + graphs: build(precision, True) for precision in types}
    baseline = baseline_of(ours["float32"], case.teacher, case.student, case.normalisation)
    works = {"naive": lambda: baseline.optimise(batch_draws(ours["float32"], case))}
    for name, synthesizer in ours.items():
        works[name] = lambda made=synthesizer: made.optimise(batch_draws(made, case), True)
    return size, works


def _cmi(case: Case) -> tuple[str, Callable[[Any, bool], Any], Any]:
    memory, draws = CMI_MEMORY if case.device.type == "cuda" else CMI_MEMORY_CPU

    def build(precision: Any, capture: bool) -> CMISynthesizer:
        return cmi_synthesizer(case, precision, memory=memory, draws=draws, capture=capture)

    return f"{draws} of memory", build, NaiveCMI


def _nayer(case: Case) -> tuple[str, Callable[[Any, bool], Any], Any]:
    layers = -(-case.synthesis.batch_size // case.num_classes)

    def build(precision: Any, capture: bool) -> NAYER:
        return nayer_synthesizer(case, precision, capture=capture)

    return f"{layers} noisy layers", build, NaiveNAYER


INVERSION: dict[str, Callable[[Case], tuple[str, Callable[[Any, bool], Any], Any]]] = {
    "cmi": _cmi,
    "nayer": _nayer,
}
