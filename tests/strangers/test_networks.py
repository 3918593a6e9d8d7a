"""Networks as people write them, as teacher and as student: two rounds each, or the true reason."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import cloudpickle

from fastdfkd.core.evaluation import evaluate
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment, image_spec
from fastdfkd.models import open_network, save_weights
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.teacher import prepare_teacher

from . import networks
from .networks import STRANGERS, Stranger

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
    here = f"{__name__}:network" if named else "tests.strangers.networks:needs_arguments"
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


def run(recipe: Recipe, tmp_path: Path) -> Experiment:
    """All that the program does with the two networks, in one process."""
    weights = tmp_path / "teacher.safetensors"
    spec = image_spec(recipe)
    save_weights(weights, open_network(recipe.teacher, spec))
    recipe = load_recipe(recipe, {"teacher.weights": str(weights)})
    teacher = prepare_teacher(recipe)
    sent = cloudpickle.dumps(Experiment.of(recipe, teacher.model))
    trainer, maker = cloudpickle.loads(sent), cloudpickle.loads(sent)
    synthesizer, distiller = maker.synthesizer(), trainer.distiller()
    buffer = trainer.buffer()
    reference_loop(synthesizer, buffer, distiller, recipe.synthesis, recipe.distillation)
    assert distiller.updates == recipe.updates
    student = tmp_path / "student.safetensors"
    save_weights(student, distiller.student_state())
    again = open_network(recipe.student, spec, student)
    images = torch.from_numpy(np.arange(3 * 256, dtype=np.uint8).reshape(3, 1, 16, 16))
    output = recipe.student.output
    said = [
        evaluate(
            each, images, None, trainer.kind, trainer.normalisation("cpu"), "cpu", output=output
        ).classes
        for each in (again, distiller.module)
    ]
    assert torch.equal(*said)
    result: Experiment = trainer
    return result


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
            run(recipe, tmp_path)
        return
    with caplog.at_level(logging.WARNING):
        experiment = run(recipe, tmp_path)
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
