"""A run small enough to take seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from fastdfkd.core.random_streams import seeded
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.teacher import Teacher

TINY = {
    "synthesis.steps": 2,
    "synthesis.rounds": 7,
    "synthesis.warmup_rounds": 2,
    "synthesis.batch_size": 16,
    "synthesis.latent_dim": 8,
    "synthesis.generator_width": 4,
    "synthesis.reset_after": 3,
    "distillation.updates_per_round": 3,
    "distillation.batch_size": 12,
    "platform.evaluations": 2,
}


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def teacher() -> Teacher:
    with seeded(7, "test-teacher"):
        model = build_network("resnet8-half", 10, 1)
        model.train()
        with torch.no_grad():
            for _ in range(3):
                model(torch.randn(32, 1, 16, 16))
    model.eval().requires_grad_(False)
    return Teacher(model=model, accuracy=0.1, digest="0" * 64, description={})


def tiny(**overrides: Any) -> Recipe:
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_recipe("digits-fast5", {**TINY, **changes})


def tiny_cmi(**overrides: Any) -> Recipe:
    """The same run with CMI; its memory wraps round in the fourth round."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    shared = {k: v for k, v in TINY.items() if k != "synthesis.reset_after"}
    memory = {"synthesis.memory": 56, "synthesis.memory_draws": 24}
    return load_recipe("digits-cmi", {**shared, **memory, **changes})


def tiny_nayer(**overrides: Any) -> Recipe:
    """The same run with NAYER and channel exchange; a new generator in rounds 2 and 5."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    shared = {k: v for k, v in TINY.items() if k != "synthesis.reset_after"}
    own = {
        "synthesis.renew_every": 3,
        "synthesis.class_vector_size": 6,
        "synthesis.channel_exchange": 0.5,
    }
    return load_recipe("digits-nayer", {**shared, **own, **changes})


def in_lockstep(recipe: Recipe) -> Recipe:
    platform = recipe.platform.model_copy(update={"schedule": "lockstep"})
    return recipe.model_copy(update={"platform": platform})


def tiny_experiment(recipe: Recipe, teacher: Teacher) -> Experiment:
    return Experiment.of(recipe, teacher.model)


class Rows:
    """A recorder that keeps its rows and warnings."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def note(self, note: str) -> None:
        self.notes.append(note)

    def evaluating(self, images: int, of: int) -> None:
        assert 0 < images <= of

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(dict(row))


GENERATIVE = ("dafl", "zskt", "dfq", "dfad")
"""The methods with a persistent generator."""


def tiny_generative(method: str, **overrides: Any) -> Recipe:
    """A small run of a generative method, its student on fresh images: 3 updates of 6 a round."""
    changes = {
        "synthesis.rounds": 7,
        "synthesis.batch_size": 18,
        "synthesis.generator_batch_size": 6,
        "synthesis.latent_dim": 8,
        "synthesis.generator_width": 4,
        "bank.capacity": 36,
        "distillation.updates_per_round": 3,
        "distillation.batch_size": 6,
        "platform.evaluations": 2,
        "platform.schedule": "lockstep",
    }
    if method in ("dafl", "dfq"):  # the others have no loss without the student
        changes["synthesis.warmup_rounds"] = 2
    changes |= {key.replace("__", "."): value for key, value in overrides.items()}
    return load_recipe(f"digits-{method}", changes)


def tiny_deep_inversion(**overrides: Any) -> Recipe:
    """The same run as `tiny` with DeepInversion."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    own = ("synthesis.reset_after", "synthesis.latent_dim", "synthesis.generator_width")
    shared = {key: value for key, value in TINY.items() if key not in own}
    return load_recipe("digits-deep-inversion", {**shared, **changes})


def tiny_shapes(**overrides: Any) -> Recipe:
    """The same run with random shapes, of which the teacher chooses."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    own = ("rounds", "warmup_rounds", "batch_size")
    shared = {key: v for key, v in TINY.items() if key.removeprefix("synthesis.") in own}
    shared |= {key: v for key, v in TINY.items() if not key.startswith("synthesis.")}
    return load_recipe("digits-shapes", {**shared, "synthesis.candidates": 2, **changes})


TINY_RUNS: dict[str, Callable[..., Recipe]] = {
    "fast": tiny,
    "deep_inversion": tiny_deep_inversion,
    "cmi": tiny_cmi,
    "nayer": tiny_nayer,
    "shapes": tiny_shapes,
    **{method: partial(tiny_generative, method) for method in GENERATIVE},
}
"""A small run of every method. `auto` becomes another one before a run starts."""
