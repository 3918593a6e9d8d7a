"""Runs that only make images, on real Ray, and runs that start from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fastdfkd.experiment import Experiment
from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe, images_only
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.started_images import StartedImages
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny, tiny_cmi
from tests.platform.faults import KillsAfterRows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster", "one_thread")]


def made(recipe: Recipe, teacher: Teacher, folder: Path, rows: Rows | None = None) -> RunResult:
    folder.mkdir(exist_ok=True)
    return pipeline.run(recipe, teacher, folder, rows or Rows(), images_only=True)


def images_of(folder: Path) -> torch.Tensor:
    checkpoint = CheckpointFolder(folder).newest()
    assert checkpoint is not None
    rounds = checkpoint.images()
    assert list(rounds) == sorted(rounds) == list(range(len(rounds)))
    return torch.cat(list(rounds.values()))


@pytest.mark.parametrize("build", [tiny, pytest.param(tiny_cmi, marks=pytest.mark.slow)])
def test_they_are_the_images_of_the_method_without_a_student(
    build: Callable[..., Recipe], teacher: Teacher, tmp_path: Path
) -> None:
    recipe = images_only(build(platform__checkpoint_every=3))
    result = made(recipe, teacher, tmp_path / "whole")
    assert (result.images, result.updates) == (7 * 16, 0)
    assert not (tmp_path / "whole" / "student.safetensors").exists()
    synthesizer = Experiment.of(recipe, copy.deepcopy(teacher.model)).synthesizer()
    expected = torch.cat([synthesizer.synthesize(round).images for round in range(7)])
    assert torch.equal(images_of(tmp_path / "whole"), expected)
    # From the checkpoint before the last one, which is of round 6.
    manifests = sorted((tmp_path / "whole" / "checkpoints").glob("manifest-*.json"))
    manifests[-1].unlink()
    checkpoint = CheckpointFolder(tmp_path / "whole").newest()
    assert checkpoint is not None
    assert checkpoint.updates == 4
    folder = tmp_path / "whole"
    pipeline.run(recipe, teacher, folder, Rows(), checkpoint=checkpoint, images_only=True)
    assert torch.equal(images_of(folder), expected)
    last = CheckpointFolder(folder).newest()
    assert last is not None
    assert len(last.state["totals"]["records"]) == 7


@pytest.mark.slow
def test_a_run_starts_from_them_and_counts_their_cost(teacher: Teacher, tmp_path: Path) -> None:
    """With fewer rounds than between two checkpoints, and several synthesizers."""
    recipe = images_only(tiny(platform__synthesizers=2, platform__cpus_per_synthesizer=0.5))
    first = made(recipe, teacher, tmp_path / "images")
    second = tiny(bank__start_from=str(tmp_path / "images"), synthesis__warmup_rounds=0)
    started = StartedImages.of(second, (1, 16, 16))
    assert torch.equal(started.images, images_of(tmp_path / "images"))
    assert started.synthesis_seconds == pytest.approx(first.synthesis_seconds)
    result = pipeline.run(second, teacher, tmp_path, Rows())
    assert result.started_images == 7 * 16
    assert result.started_synthesis_seconds == pytest.approx(first.synthesis_seconds)


@pytest.mark.slow
def test_a_killed_synthesizer_changes_no_image(teacher: Teacher, tmp_path: Path) -> None:
    recipe = images_only(tiny_cmi(synthesis__rounds=24, platform__checkpoint_every=4))
    made(recipe, teacher, tmp_path / "undisturbed")
    rows = KillsAfterRows({6: "SynthesizerActor"})
    made(recipe, teacher, tmp_path / "disturbed", rows)
    assert rows.rows[-1]["restarts"] == 1
    assert torch.equal(images_of(tmp_path / "disturbed"), images_of(tmp_path / "undisturbed"))
