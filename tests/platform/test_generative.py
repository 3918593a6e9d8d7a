"""The generative methods on Ray: the same student as in one process, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import GENERATIVE, Rows, tiny_experiment, tiny_generative
from tests.platform.faults import check_complete
from tests.platform.students import check_same, reference_student, student_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster", "one_thread")]


def run(recipe: Recipe, teacher: Teacher, folder: Path, **how: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return pipeline.run(recipe, teacher, folder, Rows(), **how)


@pytest.mark.parametrize(
    ("method", "synthesizers"),
    [
        *(pytest.param(m, 1, marks=() if m == "dfad" else pytest.mark.slow) for m in GENERATIVE),
        *(pytest.param(method, 2, marks=pytest.mark.slow) for method in GENERATIVE),
    ],
)
def test_a_run_and_one_resumed_from_it_end_with_the_same_student(
    method: str, synthesizers: int, teacher: Teacher, tmp_path: Path
) -> None:
    """With one synthesizer, that of the reference loop.

    With two, the shared generator is on the board, and a wave's copies are averaged.
    """
    changes = {"distillation__attention": 3.0} if method == "zskt" else {}
    changes |= {"platform__checkpoint_every": 2, "platform__synthesizers": synthesizers}
    recipe = tiny_generative(method, **changes)
    whole = run(recipe, teacher, tmp_path / "whole")
    check_complete(whole, recipe)
    expected = student_of(tmp_path / "whole")
    if synthesizers == 1:
        check_same(tmp_path / "whole", reference_student(recipe, teacher))
        other = tiny_generative(method, **changes, synthesis__lr_g=0.02)
        different = reference_student(other, teacher)
        assert any(not torch.equal(different[name], expected[name]) for name in expected)
    folder = CheckpointFolder(tmp_path / "whole")
    newest = max(folder.folder.glob("state-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-9])  # so that the one before is used
    checkpoint = folder.newest()
    assert checkpoint is not None
    assert 0 < checkpoint.updates < recipe.updates
    resumed = run(recipe, teacher, tmp_path / "resumed", checkpoint=checkpoint)
    check_same(tmp_path / "resumed", expected)
    assert (resumed.images, resumed.updates) == (whole.images, whole.updates)


@pytest.mark.slow  # by default tests/platform/test_own_method.py shares a generator
@pytest.mark.parametrize("schedule", ["lockstep", "async"])
def test_several_synthesizers_train_one_generator(
    schedule: str, teacher: Teacher, tmp_path: Path
) -> None:
    """In lock-step the board learns from a wave of two at once, in async from every batch."""
    recipe = tiny_generative(
        "dfad",
        platform__synthesizers=2,
        platform__checkpoint_every=4,
        platform__schedule=schedule,
        synthesis__rounds=9,
        bank__capacity=90,
    )
    check_complete(run(recipe, teacher, tmp_path), recipe)
    checkpoint = CheckpointFolder(tmp_path).newest()
    assert checkpoint is not None
    meta, initial = checkpoint.state["meta"], tiny_experiment(recipe, teacher).shared_generator()
    assert initial is not None
    if schedule == "lockstep":
        assert meta["version"] == 4
    assert float(meta["optimizer"]["steps"][0]) > 1
    before = initial.state_dict()["generator"]["project.weight"]
    assert not torch.equal(torch.as_tensor(meta["generator"]["project.weight"]), before)
