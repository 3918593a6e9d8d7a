"""One driver at a time can lock a folder, and a lock ends with its driver."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.models import build_network, save_weights
from fastdfkd.recipe import Recipe
from fastdfkd.runs.folder import claim_folder
from fastdfkd.runs.folder_lock import LOCK_FILE, FolderInUseError, lock_folder

ROOT = Path(fastdfkd.__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from fastdfkd.runs.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Driver:
    """Another process that has locked a folder."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), more],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_the_error_names_the_driver_and_nothing_is_changed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    with Driver(tmp_path, "tracking.uri=http://me:hunter2@host") as driver:
        before = content(tmp_path)
        with pytest.raises(FolderInUseError) as raised, lock_folder(tmp_path):
            pytest.fail("it is locked")
        assert content(tmp_path) == before
    message = str(raised.value)
    assert f"process {driver.process.pid} on {socket.gethostname()} since 20" in message
    assert "stop it there, or name another folder" in message
    assert "hunter2" not in message + str(before)


def test_the_lock_of_a_killed_driver_is_free(tmp_path: Path) -> None:
    with Driver(tmp_path):
        pass
    assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] != os.getpid()
    with lock_folder(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_lock_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b"\xff{" * 5000)
    with lock_folder(tmp_path):
        (tmp_path / LOCK_FILE).write_bytes(b"[]")
        with pytest.raises(FolderInUseError, match="does not name it"), lock_folder(tmp_path):
            pytest.fail("it is locked")


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path),
        pytest.raises(FolderInUseError, match=f"process {os.getpid()}"),
        lock_folder(tmp_path),
    ):
        pytest.fail("it is locked")


def test_child_processes_do_not_keep_the_lock(tmp_path: Path) -> None:
    """Neither a forked process nor one that runs a program."""
    with lock_folder(tmp_path):
        forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        forked.start()
        started = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with lock_folder(tmp_path):
            assert forked.is_alive()
            assert started.poll() is None
    finally:
        forked.kill()
        forked.join()
        started.kill()
        started.wait()


def test_wait_s_waits_until_the_other_driver_has_ended(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_folder(tmp_path):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)
    threading.Timer(0.5, leave.set).start()
    with lock_folder(tmp_path, wait_s=30):
        assert leave.is_set()
    thread.join()


def test_of_many_threads_one_at_a_time_has_the_lock(tmp_path: Path) -> None:
    """The file is removed with the lock: locking a file that was removed must not count."""
    inside, most, rounds = [0], [0], [0]

    def work() -> None:
        for _ in range(40):
            with lock_folder(tmp_path, wait_s=60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                rounds[0] += 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], rounds[0]) == (1, 160)


def test_a_file_system_without_locks_gives_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_folder(tmp_path):
        assert "file system without locks" in caplog.text


@pytest.fixture
def run(workplace: Path, tiny_recipe: Callable[..., Recipe]) -> Path:
    """The folder of a run that goes on."""
    out = workplace / "out"
    out.mkdir()
    for file in (workplace / "tiny.yaml", out / "recipe.yaml"):
        file.write_text(tiny_recipe().to_yaml())
    save_weights(out / "student.safetensors", build_network("resnet8-half", 10, 1))
    return out


@pytest.mark.parametrize(
    "words",
    [
        ["distill", "--resume", "out"],
        ["distill", "tiny.yaml", "--out", "out"],
        ["distill", "tiny.yaml", "--out", "out", "--overwrite"],
        ["teacher", "tiny.yaml", "--out", "out"],
        ["teacher", "tiny.yaml", "--out", "out", "--overwrite"],
        ["sweep", "tiny.yaml", "steps-and-meta-lr", "--out", "out"],
        ["compare", "tiny.yaml", "digits-fast5", "--reference", "digits-fast5", "--out", "out"],
        ["compare", "--experiment", "x", "--reference", "tiny", "--out", "out"],
    ],
    ids=" ".join,
)
def test_no_command_starts_in_a_locked_folder(
    run: Path, words: list[str], capsys: pytest.CaptureFixture[str], platform: Any
) -> None:
    if words[0] == "compare" and "tiny.yaml" in words:
        words = [word for word in words if word != "tiny.yaml"] + ["digits-fast2"]
    started = platform.connected
    with Driver(run) as driver:
        before = content(run)
        assert cli.run(words) == 2
        assert content(run) == before
    message = capsys.readouterr().err
    assert f"is in use by process {driver.process.pid} on {socket.gethostname()} since" in message
    assert platform.connected == started


def test_commands_that_only_read_do_not_wait(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Driver(run):
        assert cli.run(["status", "out"]) == 0
        assert cli.run(["evaluate", "out"]) == 0
    assert "held-out real images" in capsys.readouterr().out


def test_a_new_run_is_refused_in_a_folder_with_other_files(tmp_path: Path) -> None:
    """The folder is read-only here, so writing a lock file first would be another error."""
    (tmp_path / "notes.txt").write_text("")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(ValueError, match="is not empty"), claim_folder("tiny", tmp_path):
            pytest.fail("it is not empty")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_killed_run_can_be_resumed_at_once_and_a_running_one_cannot(
    workplace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With a real driver and its Ray processes."""
    out = workplace / "run"
    command = [sys.executable, "-c", "from fastdfkd.cli import main; main()", "distill"]
    words = [
        "synthesis.steps=2",
        "synthesis.rounds=120",
        "synthesis.warmup_rounds=2",
        "synthesis.batch_size=16",
        "synthesis.latent_dim=8",
        "synthesis.generator_width=4",
        "distillation.updates_per_round=2",
        "distillation.batch_size=16",
        "platform.checkpoint_every=4",
        "platform.evaluations=1",
        "teacher.epochs=1",
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(tmp_path_factory.mktemp("r")),
    }

    def begin(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *more],
            cwd=workplace,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    driver = begin("digits-fast5", *words, "--out", str(out))
    deadline = time.monotonic() + 200
    while not list(out.glob("checkpoints/manifest-*.json")):
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    second = begin("--resume", str(out))
    errors = second.communicate(timeout=100)[1]
    assert second.returncode == 2
    assert f"is in use by process {driver.pid} on" in errors
    assert driver.poll() is None
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    third = begin("--resume", str(out))
    errors = third.communicate(timeout=300)[1]
    for process in psutil.wait_procs(children, timeout=30)[1]:
        process.kill()
    assert third.returncode == 0, errors
    assert (out / "result.json").is_file()
    assert not (out / LOCK_FILE).exists()
