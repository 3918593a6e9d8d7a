"""Rounds of FastDFKD for tests: ours and the naive one on the same random numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.methods.inner_loop import InnerLoop
from fastdfkd.core.random_streams import stream
from fastdfkd.recipe import FastSynthesis

from . import naive, parts

SHARED = ("fomaml", "reptile", "sequential")
TIGHT = {"rtol": 1e-7, "atol": 1e-9}


def draws(section: FastSynthesis, round: int) -> tuple[Tensor, Tensor, list[Augmentation]]:
    """z, labels and moves of a round, in the order of the paper's algorithm."""
    randomness = stream(parts.SEED, "synthesis", round)
    count = section.batch_size
    z = torch.randn(count, section.latent_dim, generator=randomness)
    labels = torch.randint(parts.CLASSES, (count,), generator=randomness)
    moves = [
        Augmentation.draw(count, section.crop_padding, section.flip, section.invert, randomness)
        for _ in range(section.steps)
    ]
    return z, labels, moves


def both(
    synthesizer: FastSynthesizer,
    reference: naive.FastSynthesizer,
    section: FastSynthesis,
    round: int,
) -> tuple[InnerLoop, naive.Inner]:
    """The inner loop of a round, ours and the naive one, on the same random numbers."""
    randomness = stream(parts.SEED, "synthesis", round)
    z = torch.randn(section.batch_size, section.latent_dim, generator=randomness)
    labels = torch.randint(parts.CLASSES, (section.batch_size,), generator=randomness)
    adversarial = round >= section.warmup_rounds
    ours = synthesizer.inner_loop(z, labels, adversarial, randomness)
    return ours, reference.inner_loop(*draws(section, round), adversarial)


def assert_lists_close(ours: Any, expected: Any, **tolerance: float) -> None:
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), **tolerance)


def theta(synthesizer: FastSynthesizer) -> list[Tensor]:
    return [p.detach().clone() for p in synthesizer.meta.generator.parameters()]


def same(a: SyntheticBatch, b: SyntheticBatch) -> bool:
    return torch.equal(a.images, b.images) and a.provenance.losses == b.provenance.losses
