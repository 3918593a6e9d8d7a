"""Recipes whose runs take a second or two, and search spaces for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.recipe import Recipe, load_recipe

SMALL = {
    "teacher.epochs": 2,
    "synthesis.steps": 2,
    "synthesis.rounds": 9,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 32,
    "synthesis.latent_dim": 32,
    "synthesis.generator_width": 8,
    "distillation.updates_per_round": 30,
    "distillation.batch_size": 32,
    "platform.evaluations": 4,
    "platform.precision": "float32",
}


QUICK = {
    **SMALL,
    "teacher.epochs": 1,
    "synthesis.rounds": 4,
    "synthesis.batch_size": 16,
    "distillation.updates_per_round": 4,
    "platform.evaluations": 1,
}


@pytest.fixture
def small() -> Recipe:
    """A recipe whose student reaches 25 % or more within a few seconds."""
    return load_recipe("digits-fast5", SMALL)


@pytest.fixture
def quick() -> Recipe:
    """A recipe whose student hardly learns; nearly all its time is the start of processes."""
    return load_recipe("digits-fast5", QUICK)


@pytest.fixture
def space_file(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes a space file; its text is the part under `space:`."""

    def write(text: str, name: str = "space.yaml") -> Path:
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        path = tmp_path / name
        path.write_text(f"space:\n{lines}\n")
        return path

    return write


@pytest.fixture
def options() -> Callable[..., Any]:
    """A function that makes the options of a sweep; keywords replace the defaults."""
    from fastdfkd.tuning.trial_log import Options

    def make(**changes: Any) -> Options:
        values: dict[str, Any] = {
            "search": "grid",
            "scheduler": "fifo",
            "objective": "accuracy",
            "trials": 10,
            "seeds": 1,
        }
        return Options(**{**values, **changes})

    return make
