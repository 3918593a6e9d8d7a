"""A method that is only in the table runs like the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fastdfkd.platform import pipeline
from fastdfkd.recipe import METHODS, Recipe, load_recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny_experiment
from tests.platform.own_method import OneImageSynthesis
from tests.platform.students import reference_student

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster", "one_thread")]

RECIPE = """\
name: own
data: {name: digits}
teacher: {model: resnet8-half}
student: {model: resnet8-half}
synthesis: {method: one_image, lr: 0.2, rounds: 6, warmup_rounds: 2, batch_size: 16}
distillation: {updates_per_round: 3, batch_size: 12, crop_padding: 1, flip: false}
platform: {schedule: lockstep, evaluations: 1}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of the method. The method is in the table during the test."""
    monkeypatch.setitem(METHODS, "one_image", OneImageSynthesis)
    path = tmp_path / "own.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def run(recipe: Recipe, teacher: Teacher, folder: Path) -> dict[str, torch.Tensor]:
    folder.mkdir()
    result = pipeline.run(recipe, teacher, folder, Rows())
    assert (result.images, result.updates) == (6 * 16, 4 * 3)
    return load_file(folder / "student.safetensors")


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]


def test_lockstep_equals_the_reference_bit_for_bit(
    file: Path, teacher: Teacher, tmp_path: Path
) -> None:
    recipe = load_recipe(file)
    ours = run(recipe, teacher, tmp_path / "run")
    assert differing(ours, reference_student(recipe, teacher)) == []
    slower = reference_student(load_recipe(recipe, {"synthesis.lr": 0.001}), teacher)
    assert differing(ours, slower), "the student depends on the method's own key"


def test_several_synthesizers_train_its_generator_together(
    file: Path, teacher: Teacher, tmp_path: Path
) -> None:
    """The board makes one step with each wave of two batches."""
    several = {"platform.synthesizers": 2, "platform.checkpoint_every": 4}
    run(load_recipe(file, several), teacher, tmp_path / "run")
    checkpoint = CheckpointFolder(tmp_path / "run").newest()
    assert checkpoint is not None
    found = checkpoint.state["meta"]
    picture = tiny_experiment(load_recipe(file, several), teacher).shared_generator()
    assert picture is not None
    assert found["version"] == 2
    assert not torch.equal(torch.as_tensor(found["pixels"]), picture.state_dict()["pixels"])
