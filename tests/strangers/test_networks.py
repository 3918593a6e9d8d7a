"""Networks as people write them, as teacher and as student: two rounds each, or the true reason."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.core.network_use import NetworkUse
from fastdfkd.recipe import Recipe, load_recipe

from . import networks
from .networks import STRANGERS, Stranger
from .two_rounds import distilled

PRECISIONS = [
    (name, precision)
    for name, stranger in STRANGERS.items()
    for precision in ("float32", "bfloat16")
    if precision == "float32" or stranger.both_precisions
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(name: str = "", num_classes: int = 10, **arguments: Any) -> Any:
    """A builder that a recipe can name."""
    return networks.build(name, **arguments)


def partner() -> torch.nn.Module:
    return networks.build("plain")


def recipe_of(tiny: Any, role: str, name: str, precision: str) -> Recipe:
    stranger = STRANGERS[name]
    named = not name.startswith("arguments")
    here = f"{__name__}:network" if named else "tests.strangers.programs:needs_arguments"
    other = "student" if role == "teacher" else "teacher"
    bn = stranger.bn if role == "teacher" else 1.0
    return load_recipe(
        tiny(),
        {
            f"{role}.model": here,
            f"{role}.arguments": {**({"name": name} if named else {}), **dict(stranger.arguments)},
            f"{role}.output": stranger.output,
            f"{other}.model": f"{__name__}:partner",
            "synthesis.steps": 2,
            "synthesis.generator_width": 4,
            "synthesis.latent_dim": 4,
            "synthesis.bn": bn,
            "distillation.updates_per_round": 2,
            "platform.precision": precision,
        },
    )


@pytest.mark.parametrize(("name", "precision"), PRECISIONS, ids=[" ".join(p) for p in PRECISIONS])
@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_stranger_runs_or_is_refused_with_the_reason(
    tiny_recipe: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    role: str,
    name: str,
    precision: str,
) -> None:
    stranger: Stranger = STRANGERS[name]
    recipe = recipe_of(tiny_recipe, role, name, precision)
    refusal = getattr(stranger, role)
    if refusal:
        with pytest.raises((ValueError, TypeError), match=refusal):
            distilled(recipe, tmp_path)
        return
    with caplog.at_level(logging.WARNING):
        experiment = distilled(recipe, tmp_path)
    use: NetworkUse = getattr(experiment, f"{role}_use")
    expected = stranger.without - ({"folded_logits"} if role == "student" else set())
    if name == "thin projection" and role == "teacher":
        expected = frozenset()  # its weights get no gradient
    if precision == "float32":
        expected -= {"autocast"}
    assert set(use.left_out) == expected
    said = [record.message for record in caplog.records if role in record.message]
    assert len(said) == bool(expected), "one line, where something is left out"
    assert all(change in said[0] for change in expected)
