"""A tracking server in a process of its own, which is killed in the middle of a run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking import Recorder
from fastdfkd.tracking.store import open_store

Make = Callable[..., Recipe]
MakeResult = Callable[..., RunResult]


def client(uri: str):
    return open_store(uri, "fastdfkd").client


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """Start a real tracking server and wait until it answers; kill it when the block ends."""
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        uri, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.3)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_that_is_killed_and_restarted_gets_all_rows(
    tmp_path: Path,
    tiny_recipe: Make,
    make_result: MakeResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = tmp_path / "run"
    run.mkdir()
    with ExitStack() as open_:
        with mlflow_server(tmp_path, port) as uri:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            recorder = open_.enter_context(Recorder(tiny_recipe(), run))
            recorder.log({"updates": 0, "loss": 1.0})
        for step in range(1, 50):
            recorder.log({"updates": step, "loss": 1.0})
        with mlflow_server(tmp_path, port):
            recorder.log({"updates": 50, "loss": 1.0})
            recorder.finish(make_result(updates=50))
            open_.close()
            store = client(uri)
            found = store.get_run(recorder.run_id)
            history = store.get_metric_history(recorder.run_id, "loss")
            files = {item.path for item in store.list_artifacts(recorder.run_id)}
    assert [point.step for point in history] == list(range(51))
    assert found.info.status == "FINISHED"
    assert "metrics.csv" in files
