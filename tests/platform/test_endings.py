"""How runs end that cannot go on, and that no run leaves anything behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from ray.util import placement_group_table

from fastdfkd.platform import pipeline
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny
from tests.platform.faults import CallsAfterRows, check_complete, long_recipe

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


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


def test_a_run_leaves_nothing_behind_and_tells_the_precision_of_its_trainer(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdfkd.trainers.student.resolve_precision", lambda *_: "bfloat16")
    recipe = tiny(synthesis__rounds=2, synthesis__warmup_rounds=1, platform__precision="float32")
    assert pipeline.run(recipe, teacher, tmp_path, Rows()).precision == "bfloat16"
    nothing_is_left()


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


@pytest.mark.slow
def test_ctrl_c_ends_worker_processes_too(teacher: Teacher, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    recorder = CallsAfterRows({3: lambda: os.kill(os.getpid(), signal.SIGINT)})
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
