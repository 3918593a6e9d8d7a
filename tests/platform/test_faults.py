"""Processes of a run are killed; it completes, counts the faults and ends with the same student."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.platform import pipeline
from fastdfkd.recipe import NAYERSynthesis, Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny_nayer
from tests.platform.faults import (
    CallsAfterRows,
    KillsAfterRows,
    check_complete,
    kill,
    long_recipe,
)
from tests.platform.students import Student, check_same, reference_student, student_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster", "one_thread")]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Its bank holds two rounds, so that it has evicted rounds of every checkpoint."""
    return long_recipe(platform__schedule="lockstep", bank__capacity=32)


@pytest.fixture(scope="module")
def undisturbed(recipe: Recipe, one_thread: None, teacher: Teacher) -> Student:
    """The student of a run without a kill."""
    return reference_student(recipe, teacher)


def test_killed_actors_change_nothing(
    recipe: Recipe,
    teacher: Teacher,
    tmp_path: Path,
    undisturbed: Student,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is restored to where it was, which is newer than the last checkpoint.

    A synthesizer's round is made again from the state before it. They are killed a moment after a
    row, which is in the middle of a round.
    """
    source, killers = random.Random(0), list[threading.Timer]()

    def kill_soon(actor: str) -> None:
        killers.append(threading.Timer(source.uniform(0, 0.2), kill, [actor]))
        killers[-1].start()

    killed = {4: "SynthesizerActor", 9: "SampleBank", 14: "WeightBoard"}
    recorder = CallsAfterRows(
        {rows: lambda actor=actor: kill_soon(actor) for rows, actor in killed.items()}
    )
    result = pipeline.run(recipe, teacher, tmp_path, recorder)
    for killer in killers:
        killer.join()
    check_complete(result, recipe)
    last = recorder.rows[-1]
    assert last["restarts"] >= 1, "the bank's death may end a synthesizer's call, too"
    assert (last["bank_restarts"], last["lost"]) == (1, 0)
    assert caplog.text.count("the weight board was restarted") == 1
    images = [row["images"] for row in recorder.rows]
    assert images == sorted(images)
    check_same(tmp_path, undisturbed)


@pytest.mark.timeout(600)
def test_a_killed_worker_goes_on_from_the_last_checkpoint_to_the_same_student(
    recipe: Recipe, teacher: Teacher, tmp_path: Path, undisturbed: Student
) -> None:
    """Also if the bank has evicted rounds of the checkpoint."""
    platform = recipe.platform.model_copy(update={"workers": 1})
    recipe = recipe.model_copy(update={"platform": platform})
    recorder = KillsAfterRows({12: "RayTrainWorker"})
    result = pipeline.run(recipe, teacher, tmp_path, recorder)
    check_complete(result, recipe)
    assert recorder.rows[-1]["worker_restarts"] == 1
    steps = [row["updates"] for row in recorder.rows if "updates" in row]
    assert set(steps) == set(range(4, recipe.updates + 1, 4)), "no update is missing"
    rates = {row["updates"]: row["lr"] for row in recorder.rows if "updates" in row}
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    check_same(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_go_on_to_the_same_student_after_one_was_killed(
    teacher: Teacher, tmp_path: Path
) -> None:
    """The other one's exchange fails, and it is restarted, too."""
    recipe = long_recipe(
        platform__schedule="lockstep", platform__workers=2, platform__cpus_per_worker=0.5
    )
    for name, happens in (
        ("disturbed", lambda: kill("RayTrainWorker", most=1)),
        ("plain", lambda: None),
    ):
        (tmp_path / name).mkdir()
        recorder = CallsAfterRows({12: happens})
        check_complete(pipeline.run(recipe, teacher, tmp_path / name, recorder), recipe)
        assert recorder.rows[-1]["worker_restarts"] == (name == "disturbed")
    check_same(tmp_path / "disturbed", student_of(tmp_path / "plain"))


@pytest.mark.slow
def test_several_synthesizers_of_nayer_go_on_in_async_after_kills(
    teacher: Teacher, tmp_path: Path
) -> None:
    """The shared generator is on the board, and is drawn anew in turn whatever was killed."""
    recipe = long_recipe(tiny_nayer, platform__schedule="async", platform__synthesizers=2)
    recorder = KillsAfterRows({4: "SynthesizerActor", 9: "WeightBoard", 14: "SampleBank"})
    check_complete(pipeline.run(recipe, teacher, tmp_path, recorder), recipe)
    assert recorder.rows[-1]["restarts"] == 2, "both synthesizers"
    assert recorder.rows[-1]["bank_restarts"] == 1
    checkpoint = CheckpointFolder(tmp_path).newest()
    assert checkpoint is not None
    meta = checkpoint.state["meta"]
    section = recipe.synthesis
    assert isinstance(section, NAYERSynthesis)
    assert 3 <= meta["life"] <= section.life_of(section.rounds - 1)
    assert meta["version"] >= meta["born"] >= meta["life"]
    trained = torch.as_tensor(meta["generator"]["project.weight"])
    assert torch.isfinite(trained).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("others", "changes"),
    [
        ((), {}),
        (("WeightBoard",), {}),
        ((), {"platform__synthesizers": 2}),
        ((), {"platform__checkpoint_every": None, "synthesis__meta": "reptile"}),
    ],
    ids=str,
)
def test_whenever_synthesizers_of_a_lockstep_run_are_killed_its_student_is_the_same(
    others: tuple[str, ...], changes: dict[str, Any], teacher: Teacher, tmp_path: Path
) -> None:
    recipe = long_recipe(platform__schedule="lockstep", synthesis__rounds=300, **changes)
    for name in ("undisturbed", "disturbed"):
        (tmp_path / name).mkdir()
    pipeline.run(recipe, teacher, tmp_path / "undisturbed", Rows())
    source, over, killed = random.Random(str(changes)), threading.Event(), list[str]()

    def kill_repeatedly() -> None:
        while not over.wait(source.uniform(0, 1)) and len(killed) < 4:
            killed.append(source.choice(["SynthesizerActor.synthesize", "SynthesizerActor"]))
            kill(killed[-1])
            for other in others:
                over.wait(source.uniform(0, 0.3))
                kill(other)
            over.wait(source.uniform(3, 6))  # about as long as a restart takes

    killer = threading.Thread(target=kill_repeatedly)
    recorder = CallsAfterRows({3: killer.start})
    try:
        result = pipeline.run(recipe, teacher, tmp_path / "disturbed", recorder)
    finally:
        over.set()
        killer.join()
    check_complete(result, recipe)
    assert recorder.rows[-1]["restarts"] >= 2, killed
    check_same(tmp_path / "disturbed", student_of(tmp_path / "undisturbed"))


def test_a_synthesizer_that_always_dies_ends_the_run_with_a_clear_error(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdfkd.platform.dispatcher.MOST_DEATHS_IN_A_ROW", 2)
    over = threading.Event()

    def kill_repeatedly() -> None:
        while not over.wait(0.1):
            kill("SynthesizerActor.synthesize")

    killer = threading.Thread(target=kill_repeatedly)
    killer.start()
    try:
        with pytest.raises(RuntimeError, match=r"synthesizer 0 died 2 times in a row"):
            pipeline.run(long_recipe(synthesis__steps=100_000), teacher, tmp_path, Rows())
    finally:
        over.set()
        killer.join()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
def test_many_kills_of_any_process_at_random_moments(
    seed: int, teacher: Teacher, tmp_path: Path
) -> None:
    recipe = long_recipe(
        synthesis__rounds=800, platform__workers=1, platform__most_worker_failures=50
    )
    source, over, killed = random.Random(seed), threading.Event(), list[str]()

    def kill_repeatedly() -> None:
        roles = ["SynthesizerActor", "SampleBank", "WeightBoard", "RayTrainWorker"]
        while not over.wait(source.uniform(0.5, 5)) and len(killed) < 12:
            killed.append(source.choice(roles))
            kill(killed[-1])

    killer = threading.Thread(target=kill_repeatedly)
    recorder = CallsAfterRows({3: killer.start})
    try:
        result = pipeline.run(recipe, teacher, tmp_path, recorder)
    finally:
        over.set()
        killer.join()
    check_complete(result, recipe)
    assert len(killed) >= 4, killed
    assert recorder.rows[-1]["lost"] == 0
    assert result.max_staleness <= recipe.platform.max_staleness
