"""Real processes are killed at random moments; the run completes and counts the faults."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from ray.util import placement_group_table
from safetensors.torch import load_file

from fastdfkd.platform import pipeline
from fastdfkd.recipe import NAYERSynthesis, Recipe
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny, tiny_nayer

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


class CallsAfterRows(Rows):
    """A recorder that calls `action` after `after` rows."""

    def __init__(self, after: int, action: Callable[[], None]) -> None:
        super().__init__()
        self.after, self.action = after, action

    def log(self, row: dict[str, float]) -> None:
        super().log(row)
        if len(self.rows) == self.after:
            self.action()


class KillsAfterRows(Rows):
    """A recorder that kills actors after so many rows."""

    def __init__(self, actors: dict[int, str]) -> None:
        super().__init__()
        self.actors = actors

    def log(self, row: dict[str, float]) -> None:
        super().log(row)
        if actor := self.actors.get(len(self.rows)):
            kill(actor)


def kill(actor: str, most: int | None = None) -> None:
    """Send SIGKILL to this test's processes of an actor class, or of one of its methods.

    Args:
        actor: the class.
        most: how many to kill; None: all.
    """
    killed = 0
    for child in psutil.Process().children(recursive=True):
        try:
            if f"ray::{actor}" in " ".join(child.cmdline()) and killed != most:
                child.send_signal(signal.SIGKILL)
                killed += 1
        except psutil.Error:  # the process has ended
            continue


def long_recipe(build: Callable[..., Recipe] = tiny, **overrides: Any) -> Recipe:
    """A recipe whose run is long enough to be disturbed in the middle."""
    long = {
        "synthesis__rounds": 24,
        "synthesis__warmup_rounds": 2,
        "distillation__updates_per_round": 4,
        "platform__checkpoint_every": 4,
    }
    return build(**{**long, **overrides})


def check_complete(result: RunResult, recipe: Recipe) -> None:
    assert result.updates == recipe.updates
    assert result.images == recipe.synthesis.rounds * recipe.synthesis.batch_size


def run_and_kill(
    actor: str, teacher: Teacher, folder: Path, build: Callable[..., Recipe] = tiny
) -> tuple[RunResult, Rows, Recipe]:
    recipe = long_recipe(build, platform__schedule="lockstep")
    delay = random.Random(actor).random() / 5

    def kill_later() -> None:
        time.sleep(delay)
        kill(actor)

    killer = threading.Thread(target=kill_later)
    recorder = CallsAfterRows(6, killer.start)
    result = pipeline.run(recipe, teacher, folder, recorder)
    killer.join()
    return result, recorder, recipe


@pytest.fixture(scope="module")
def undisturbed(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run of `run_and_kill` without a kill."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pipeline.run(long_recipe(platform__schedule="lockstep"), teacher, folder, Rows())
    return folder


def test_a_killed_synthesizer_changes_nothing(
    teacher: Teacher, tmp_path: Path, undisturbed: Path
) -> None:
    """Its round is made again from the state before it, which is newer than the checkpoint's."""
    result, recorder, recipe = run_and_kill("SynthesizerActor", teacher, tmp_path)
    check_complete(result, recipe)
    assert recorder.rows[-1]["restarts"] == 1
    images = [row["images"] for row in recorder.rows]
    assert images == sorted(images)
    same_students(tmp_path, undisturbed)


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
    recorder = CallsAfterRows(3, killer.start)
    try:
        result = pipeline.run(recipe, teacher, tmp_path / "disturbed", recorder)
    finally:
        over.set()
        killer.join()
    check_complete(result, recipe)
    assert recorder.rows[-1]["restarts"] >= 2, killed
    same_students(tmp_path / "disturbed", tmp_path / "undisturbed")


def test_a_killed_bank_is_restored_with_every_round(teacher: Teacher, tmp_path: Path) -> None:
    result, recorder, recipe = run_and_kill("SampleBank", teacher, tmp_path)
    check_complete(result, recipe)
    assert recorder.rows[-1]["lost"] == 0
    assert recorder.rows[-1]["bank_restarts"] == 1


def test_a_killed_board_is_restored(teacher: Teacher, tmp_path: Path, undisturbed: Path) -> None:
    result, _, recipe = run_and_kill("WeightBoard", teacher, tmp_path)
    check_complete(result, recipe)
    same_students(tmp_path, undisturbed)


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


def test_diverging_synthesis_is_refused_counted_and_ends_the_run(
    teacher: Teacher, tmp_path: Path
) -> None:
    recipe = tiny(synthesis__bn=1e38)
    with pytest.raises(FloatingPointError, match=r"5 batches .* were refused; .* diverged"):
        pipeline.run(recipe, teacher, tmp_path, Rows())


def test_a_student_that_diverges_ends_the_run_and_is_named(
    teacher: Teacher, tmp_path: Path
) -> None:
    recipe = tiny(distillation__lr=1e30)
    with pytest.raises(FloatingPointError, match=r"student's training diverged between updates"):
        pipeline.run(recipe, teacher, tmp_path, Rows())
    nothing_is_left()


def test_a_run_leaves_nothing_behind(teacher: Teacher, tmp_path: Path) -> None:
    pipeline.run(tiny(), teacher, tmp_path, Rows())
    nothing_is_left()


def nothing_is_left() -> None:
    deadline = time.monotonic() + 120  # Ray updates its counts late on a busy machine
    while left := what_is_left():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def what_is_left() -> list[str]:
    """Resources, placement groups and actors that runs still hold in this test's cluster."""
    total, free = ray.cluster_resources()["CPU"], ray.available_resources().get("CPU", 0.0)
    taken = [f"{total - free:g} of {total:g} CPU"] if free < total else []
    table = placement_group_table()
    groups = [name for name, group in table.items() if group["state"] != "REMOVED"]
    return (
        taken + groups + actors("SynthesizerActor", "SampleBank", "WeightBoard", "RayTrainWorker")
    )


def actors(*names: str) -> list[str]:
    """Command lines of this process's Ray actors of these classes."""
    command_lines = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # the process has ended
            command_lines.append(" ".join(child.cmdline()))
    return [line for line in command_lines if any(f"ray::{name}" in line for name in names)]


@pytest.mark.usefixtures("one_thread")
def test_a_killed_worker_goes_on_from_the_last_checkpoint_to_the_same_student(
    teacher: Teacher, tmp_path: Path
) -> None:
    """Also if the bank has evicted rounds of the checkpoint: here it holds two rounds."""
    (tmp_path / "disturbed").mkdir()
    recipe = long_recipe(platform__schedule="lockstep", platform__workers=1, bank__capacity=32)
    recorder = CallsAfterRows(12, lambda: kill("RayTrainWorker"))
    result = pipeline.run(recipe, teacher, tmp_path / "disturbed", recorder)
    check_complete(result, recipe)
    assert recorder.rows[-1]["worker_restarts"] == 1
    steps = [row["updates"] for row in recorder.rows if "updates" in row]
    assert set(steps) == set(range(4, recipe.updates + 1, 4)), "no update is missing"
    rates = {row["updates"]: row["lr"] for row in recorder.rows if "updates" in row}
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    (tmp_path / "undisturbed").mkdir()
    platform = recipe.platform.model_copy(update={"workers": 0})
    recipe = recipe.model_copy(update={"platform": platform})
    pipeline.run(recipe, teacher, tmp_path / "undisturbed", Rows())
    same_students(tmp_path / "disturbed", tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
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
        recorder = CallsAfterRows(12, happens)
        check_complete(pipeline.run(recipe, teacher, tmp_path / name, recorder), recipe)
        assert recorder.rows[-1]["worker_restarts"] == (name == "disturbed")
    same_students(tmp_path / "disturbed", tmp_path / "plain")


def same_students(one: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "student.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.slow
def test_ctrl_c_ends_worker_processes_too(teacher: Teacher, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    recorder = CallsAfterRows(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(long_recipe(platform__workers=1), teacher, tmp_path, recorder)
    assert signal.getsignal(signal.SIGINT) is before, "Ray Train's handler is gone"
    nothing_is_left()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 4 MB."""
    place = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        place.rmdir()
        pytest.skip("only root may mount a small file system to fill")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


@pytest.mark.slow
def test_a_full_disk_prevents_checkpoints_and_the_run_can_be_resumed(
    teacher: Teacher, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe, filler = long_recipe(platform__schedule="lockstep"), small_disk / "filler"
    checkpoints = CheckpointFolder(small_disk)

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    class FillsOnceThereIsACheckpoint(Rows):
        def log(self, row: dict[str, float]) -> None:
            super().log(row)
            if not filler.exists() and checkpoints.newest():
                fill()

    recorder = FillsOnceThereIsACheckpoint()
    with pytest.raises(OSError, match="No space left on device"):
        pipeline.run(recipe, teacher, small_disk, recorder)
    assert recorder.rows[-1]["updates"] == recipe.updates, "the training continued"
    assert "checkpoint after update" in caplog.text
    assert not list(small_disk.rglob("*.tmp"))
    filler.unlink()
    checkpoint = checkpoints.newest()
    assert checkpoint is not None
    resumed = Rows()
    result = pipeline.run(recipe, teacher, small_disk, resumed, checkpoint=checkpoint)
    check_complete(result, recipe)
    assert resumed.rows[-1]["bank_restarts"] == 0, "a resume counts as no fault"


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
    recorder = CallsAfterRows(3, killer.start)
    try:
        result = pipeline.run(recipe, teacher, tmp_path, recorder)
    finally:
        over.set()
        killer.join()
    check_complete(result, recipe)
    assert len(killed) >= 4, killed
    assert recorder.rows[-1]["lost"] == 0
    assert result.max_staleness <= recipe.platform.max_staleness
