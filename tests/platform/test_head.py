"""A run whose cluster has lost its head ends in order, and can be gone on with."""

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
    """What listens at the address of this process's head, and a watch that is quick."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        context = SimpleNamespace(gcs_address=address)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        monkeypatch.setattr(head, "_EVERY_SECONDS", 0.05)
        monkeypatch.setattr(head, "OUR_OWN_SECONDS", 0.2)
        yield server
    head._lost.clear()


def test_a_head_that_answers_ends_nothing(gcs: socket.socket, tmp_path: Path) -> None:
    ended = list[BaseException]()
    with head.watched(tmp_path, ended.append, ours=True):
        time.sleep(0.5)
    assert ended == []
    assert not head.is_lost()


def test_a_lost_head_ends_the_run(gcs: socket.socket, tmp_path: Path) -> None:
    ended, end = list[BaseException](), threading.Event()

    def note(error: BaseException) -> None:
        ended.append(error)
        end.set()

    with head.watched(tmp_path, note, ours=True):
        gcs.close()
        assert end.wait(10)
    assert head.is_lost()
    (error,) = ended
    assert isinstance(error, OSError), "one message and exit code 2"
    assert f"fastdfkd distill --resume {tmp_path}" in str(error)


def test_patience_with_another_ones_head_ends_before_rays(
    gcs: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    end = threading.Event()
    with head.watched(tmp_path, lambda _: end.set(), ours=False):
        gcs.close()
        assert not end.wait(1)
        assert end.wait(10)


def test_a_run_that_cannot_end_is_ended(
    gcs: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    codes, gone = list[int](), threading.Event()

    def leave(code: int) -> None:
        codes.append(code)
        gone.set()

    monkeypatch.setattr(head.os, "_exit", leave)
    monkeypatch.setattr(head, "ENDING_SECONDS", 0.2)
    with head.watched(tmp_path, lambda _: time.sleep(1), ours=True):
        gcs.close()
        assert gone.wait(10)
    assert codes == [2]
    assert "--resume" in caplog.text


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_gcs_server_is_one_line_and_the_run_goes_on(
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
    below = psutil.Process(run.pid).children(recursive=True)
    (gcs_server,) = (each for each in below if "gcs_server" in each.name())
    gcs_server.kill()
    killed = time.monotonic()
    said = run.communicate(timeout=100)[1]
    assert time.monotonic() - killed < 45, "15 and 25 s on an idle machine"
    assert run.returncode == 2, said
    assert "Traceback" not in said
    assert "has not answered for" in said
    assert f"fastdfkd distill --resume {out}" in said
    assert psutil.wait_procs(below, timeout=90)[1] == [], "agents of Ray give up after its minute"
    state = json.loads((out / "state.json").read_text())["state"]
    assert state == ("running" if workers else "failed")
    again = subprocess.run(
        [*command, "--resume", str(out)], cwd=workplace, env=environment, capture_output=True
    )
    assert again.returncode == 0, again.stderr
    assert RunResult.load(out).images == 400 * 16
