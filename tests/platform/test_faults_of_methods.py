"""With every method a fault changes nothing: in lock-step the student is that of a calm run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdfkd.platform import pipeline
from fastdfkd.recipe import METHODS, Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import TINY_RUNS, Rows
from tests.platform.faults import KillsAfterRows, check_complete
from tests.platform.students import check_same, student_of

pytestmark = [pytest.mark.cluster]
of_all_methods = pytest.mark.parametrize("method", TINY_RUNS)
on_a_cluster = pytest.mark.usefixtures("ray_cluster", "one_thread")


def test_every_method_is_disturbed() -> None:
    assert set(TINY_RUNS) == set(METHODS) - {"auto"}
    for name, build in TINY_RUNS.items():
        assert build().synthesis.method_name() == name


def recipe_of(method: str, **changes: Any) -> Recipe:
    """Long enough to be disturbed in the middle."""
    long = {"synthesis__rounds": 24, "platform__checkpoint_every": 4}
    return TINY_RUNS[method](platform__schedule="lockstep", **long, **changes)


@pytest.fixture(scope="module")
def calm_runs() -> dict[str, Path]:
    """Folders of the runs without a fault, by method."""
    return {}


@pytest.fixture
def calm(
    method: str,
    calm_runs: dict[str, Path],
    ray_cluster: None,
    one_thread: None,
    teacher: Teacher,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Folder of the method's run without a fault."""
    if method not in calm_runs:
        folder = tmp_path_factory.mktemp(f"calm-{method}")
        pipeline.run(recipe_of(method), teacher, folder, Rows())
        calm_runs[method] = folder
    return calm_runs[method]


@pytest.mark.slow
@on_a_cluster
@pytest.mark.parametrize(
    ("actor", "counted"),
    [("SynthesizerActor", "restarts"), ("SampleBank", "bank_restarts"), ("WeightBoard", "")],
)
@of_all_methods
def test_a_killed_actor_changes_nothing(
    method: str, actor: str, counted: str, teacher: Teacher, calm: Path, tmp_path: Path
) -> None:
    """A synthesizer's round is made again; bank and board are filled again by the driver."""
    recipe, recorder = recipe_of(method), KillsAfterRows({6: actor})
    check_complete(pipeline.run(recipe, teacher, tmp_path, recorder), recipe)
    assert recorder.rows[-1]["lost"] == 0
    if counted:
        assert recorder.rows[-1][counted] == 1
    check_same(tmp_path, student_of(calm))


@pytest.mark.slow
@on_a_cluster
@of_all_methods
def test_a_killed_worker_goes_on_to_the_same_student(
    method: str, teacher: Teacher, calm: Path, tmp_path: Path
) -> None:
    """From the newest checkpoint, with images that its bank may have evicted since."""
    recipe, recorder = (
        recipe_of(method, platform__workers=1),
        KillsAfterRows({12: "RayTrainWorker"}),
    )
    check_complete(pipeline.run(recipe, teacher, tmp_path, recorder), recipe)
    assert recorder.rows[-1]["worker_restarts"] == 1
    check_same(tmp_path, student_of(calm))


@pytest.mark.slow
@on_a_cluster
@of_all_methods
def test_a_resumed_run_ends_with_the_same_student(
    method: str, teacher: Teacher, calm: Path, tmp_path: Path
) -> None:
    """From the newest checkpoint that is whole."""
    newest = max(CheckpointFolder(calm).folder.glob("state-*.safetensors"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-9])  # as a power cut may leave it: the one before is used
    try:
        checkpoint = CheckpointFolder(calm).newest()
        assert checkpoint is not None
        recipe = recipe_of(method)
        assert 0 < checkpoint.updates < recipe.updates
        resumed = pipeline.run(recipe, teacher, tmp_path, Rows(), checkpoint=checkpoint)
    finally:
        newest.write_bytes(whole)
    check_complete(resumed, recipe)
    check_same(tmp_path, student_of(calm))
