"""What a run says when its images collapse, and that it says nothing otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.api.execution import obtain_teacher
from fastdfkd.platform import pipeline
from fastdfkd.recipe import load_recipe
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]
COLUMNS = ("newest_confidence", "newest_coverage", "newest_distinct")


class OtherRange(nn.Module):
    """A network for inputs that are 100 times as large as those that it gets."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x / 100)
        return logits


class Constant(nn.Module):
    """A network that nearly always answers with one class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", torch.eye(10)[3] * 50)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x) + self.shift
        return logits


@pytest.mark.slow  # two runs; what a collapse is, and its state, is tested with `CollapseWatch`
def test_a_collapse_is_recorded_once_and_survives_a_resume(
    teacher: Teacher, tmp_path: Path
) -> None:
    recipe, recorder = tiny(platform__schedule="lockstep", platform__checkpoint_every=4), Rows()
    constant = replace(teacher, model=Constant(teacher.model).eval().requires_grad_(False))
    (tmp_path / "whole").mkdir()
    (tmp_path / "resumed").mkdir()
    result = pipeline.run(recipe, constant, tmp_path / "whole", recorder)
    assert result.warnings == recorder.warnings
    assert "100% of the 48 newest images to class 3" in result.warnings[0]
    assert sum("do not come" in warning for warning in result.warnings) == 1
    assert all(0 <= row[name] <= 1 for row in recorder.rows for name in COLUMNS)
    result.save(tmp_path / "whole" / "result.json")
    assert RunResult.load(tmp_path / "whole").warnings == result.warnings

    checkpoint = CheckpointFolder(tmp_path / "whole").newest()
    assert checkpoint is not None
    again = Rows()
    resumed = pipeline.run(recipe, constant, tmp_path / "resumed", again, checkpoint=checkpoint)
    assert resumed.warnings == again.warnings
    # The round in which one is noticed depends on when the progress row comes.
    assert [each.partition(": ")[2] for each in again.warnings] == [
        each.partition(": ")[2] for each in result.warnings
    ]
    del checkpoint.state["collapse"]  # a checkpoint of the release before
    for record in checkpoint.state["totals"]["records"]:
        del record["figures"]
    (tmp_path / "old").mkdir()
    old = pipeline.run(recipe, constant, tmp_path / "old", Rows(), checkpoint=checkpoint)
    assert any("do not come" in warning for warning in old.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "other_range", "says"),
    [
        ("digits-10x", {}, False, None),
        ("digits-100x", {}, False, None),
        ("digits-fast5", {}, False, None),
        (
            "digits-fast5",
            {"synthesis.rounds": 20},
            True,
            "(1) the teacher was trained with another",
        ),
        ("digits-fast5", {"synthesis.lr_g": 1}, False, "(1) synthesis.lr_g is 1"),
    ],
    ids=str,
)
def test_digits(
    name: str, changes: dict[str, float], other_range: bool, says: str | None, tmp_path: Path
) -> None:
    recipe = load_recipe(name, changes)
    teacher = obtain_teacher(recipe)
    if other_range:
        teacher = replace(teacher, model=OtherRange(teacher.model).eval().requires_grad_(False))
    result = pipeline.run(recipe, teacher, tmp_path, Rows())
    if says is None:
        assert result.warnings == []
    else:
        assert "do not come" in result.warnings[0]
        assert says in result.warnings[0]
