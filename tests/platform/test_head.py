"""A run whose cluster lost its head ends in order and can be resumed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray

import fastdfkd
from fastdfkd.platform import head
from fastdfkd.runs.result import RunResult

ROOT = Path(fastdfkd.__file__).parents[1]


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server at the address of this process's head, and short timeouts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        context = SimpleNamespace(gcs_address=address)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        monkeypatch.setattr(head, "_EVERY_SECONDS", 0.05)
        monkeypatch.setattr(head, "OWN_HEAD_TIMEOUT_SECONDS", 0.2)
        yield server
    head._lost.clear()


def test_a_head_that_answers_ends_nothing(gcs: socket.socket, tmp_path: Path) -> None:
    ended = list[BaseException]()
    with head.watch(tmp_path, ended.append, own=True):
        time.sleep(0.5)
    assert ended == []
    assert not head.is_lost()


def test_a_lost_head_ends_the_run(gcs: socket.socket, tmp_path: Path) -> None:
    ended, end = list[BaseException](), threading.Event()

    def note(error: BaseException) -> None:
        ended.append(error)
        end.set()

    with head.watch(tmp_path, note, own=True):
        gcs.close()
        assert end.wait(10)
    assert head.is_lost()
    (error,) = ended
    assert isinstance(error, OSError), "one message and exit code 2"
    assert f"fastdfkd distill --resume {tmp_path}" in str(error)


def test_another_head_is_lost_before_rays_own_timeout(
    gcs: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    end = threading.Event()
    with head.watch(tmp_path, lambda _: end.set(), own=False):
        gcs.close()
        assert not end.wait(1)
        assert end.wait(10)


def test_a_process_whose_run_does_not_end_exits(
    gcs: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    codes, gone = list[int](), threading.Event()

    def fake_exit(code: int) -> None:
        codes.append(code)
        gone.set()

    monkeypatch.setattr(head.os, "_exit", fake_exit)
    monkeypatch.setattr(head, "ENDING_SECONDS", 0.2)
    with head.watch(tmp_path, lambda _: time.sleep(1), own=True):
        gcs.close()
        assert gone.wait(10)
    assert codes == [2]
    assert "--resume" in caplog.text


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_gcs_server_gives_one_line_and_the_run_can_be_resumed(
    workers: int, workplace: Path, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out, temporary = workplace / "run", tmp_path_factory.mktemp("r")
    command = [str(Path(sys.executable).parent / "fastdfkd"), "distill"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(temporary)}
    changes = [
        "synthesis.rounds=400",
        "synthesis.steps=2",
        "synthesis.warmup_rounds=2",
        "synthesis.batch_size=16",
        "distillation.updates_per_round=2",
        "platform.checkpoint_every=4",
        "platform.evaluations=2",
        f"platform.workers={workers}",
        "teacher.epochs=1",
    ]
    run = subprocess.Popen(
        [*command, "digits-fast5", *changes, "--out", str(out)],
        cwd=workplace,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not list(out.glob("checkpoints/manifest-*")):
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = psutil.Process(run.pid).children(recursive=True)
    (gcs_server,) = (each for each in children if "gcs_server" in each.name())
    gcs_server.kill()
    killed = time.monotonic()
    stderr = run.communicate(timeout=100)[1]
    assert time.monotonic() - killed < 45, "15 and 25 s on an idle machine"
    assert run.returncode == 2, stderr
    assert "Traceback" not in stderr
    assert "has not answered for" in stderr
    assert f"fastdfkd distill --resume {out}" in stderr
    assert psutil.wait_procs(children, timeout=90)[1] == [], "Ray's agents end after a minute"
    state = json.loads((out / "state.json").read_text())["state"]
    assert state == ("running" if workers else "failed")
    resumed = subprocess.run(
        [*command, "--resume", str(out)], cwd=workplace, env=environment, capture_output=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert RunResult.load(out).images == 400 * 16
