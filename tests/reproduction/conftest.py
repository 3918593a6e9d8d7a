"""A tiny table of digits."""

from __future__ import annotations

import pytest

TINY = [
    "teacher.epochs=1",
    "synthesis.rounds=3",
    "synthesis.warmup_rounds=0",
    "synthesis.batch_size=16",
    "synthesis.latent_dim=8",
    "synthesis.generator_width=4",
    "distillation.updates_per_round=2",
    "distillation.batch_size=8",
    "bank.capacity=16",
    "platform.evaluations=1",
    "platform.precision=float32",
]


@pytest.fixture
def tiny() -> list[str]:
    """Changes that make runs of both fast and generative recipes take a second."""
    return list(TINY)
