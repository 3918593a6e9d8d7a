"""A student behind the servers that docs/exporting.md names answers a PNG as it does in torch."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from PIL import Image
from torch import Tensor

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.runs.folder import write_json
from fastdfkd.tracking import ParentRun, register
from tests.export.finished_runs import bank_images

PAGE = Path(__file__).parents[2] / "docs" / "exporting.md"
START_S = 300.0
"""Longest wait for a server on a busy machine."""


@pytest.fixture
def recorded_run(run: Path, tracking_uri: str) -> Path:
    """The run, with a run in the MLflow store of the session."""
    with ParentRun("tiny", uri=tracking_uri) as parent:
        pass
    state = {"state": "finished", "mlflow_run_id": parent.run_id, "tracking_uri": tracking_uri}
    write_json(run / "state.json", state)
    return run


def png() -> bytes:
    """A picture of 16 x 16 pixels as a file."""
    file = io.BytesIO()
    Image.fromarray(bank_images(1, (3, 16, 16))[0].permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def pixels_of(file: bytes) -> np.ndarray[Any, Any]:
    """(1, 3, H, W) uint8 of a file."""
    return np.asarray(Image.open(io.BytesIO(file))).transpose(2, 0, 1)[None]


def expected_logits(run: Path, file: bytes) -> Tensor:
    """What the student answers in torch."""
    student = FinishedStudent.of(run)
    images = torch.from_numpy(pixels_of(file).copy()).float() / 255
    with torch.no_grad():
        found: Tensor = student.network(student.spec.normalisation("cpu")(images))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A server that may not listen yet."""

    process: subprocess.Popen[bytes]
    log: Path

    def answer(self, address: str, body: bytes, kind: str) -> Any:
        """The JSON that it answers, as soon as it listens."""
        request = urllib.request.Request(address, body, {"Content-Type": kind})
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code not in (404, 503):  # of Ray Serve, before the application is there
                    pytest.fail(f"{error.code} {error.read()!r} {self.log.read_text()[-3000:]}")
            except OSError:
                pass
            time.sleep(0.5)
        pytest.fail(f"no answer: {self.process.poll()} {self.log.read_text()[-3000:]}")


@contextmanager
def server(command: list[str], log: Path, **variables: str) -> Iterator[Server]:
    """A server in a process group of its own, which ends with the block."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow runs uvicorn
    environment = {**os.environ, "PATH": path, **variables}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        yield Server(process, log)
    finally:
        for each in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(process.pid, each)
                process.wait(60)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_registered_student_is_served_by_mlflow(
    recorded_run: Path, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    line = ["export", str(recorded_run), "--to", "mlflow", "--name", "tiny digits"]
    assert cli.run([*line, "--alias", "champion"]) == 0
    assert "version 1, models:/tiny digits@champion" in capsys.readouterr().out
    found = mlflow.MlflowClient(tracking_uri).get_model_version_by_alias("tiny digits", "champion")
    assert found.description == "Student of the recipe tiny, seed 0"
    again = fastdfkd.export_student(recorded_run, "mlflow", name="tiny digits", overwrite=True)
    assert again.registered is not None
    assert (again.registered.version, again.registered.alias) == ("2", "newest")
    folder = recorded_run / "export" / "mlflow"
    assert not list(folder.rglob("*.pkl")) + list(folder.rglob("*.pth"))
    model = mlflow.models.Model.load(str(folder))
    assert model.signature.inputs.inputs[0].shape == (-1, 3, 16, 16)
    assert model.signature.outputs.inputs[0].shape == (-1, 5)
    assert model.metadata["fastdfkd"]["student"]["model"] == "resnet8-half"
    file, port = png(), free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", "models:/tiny digits@champion", "--host", "127.0.0.1", "--port", str(port)]
    with server(
        command,
        recorded_run / "server.log",
        MLFLOW_TRACKING_URI=tracking_uri,
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    ) as served:
        body = json.dumps({"inputs": pixels_of(file).tolist()}).encode()
        address = f"http://127.0.0.1:{port}/invocations"
        answer = served.answer(address, body, "application/json")
    logits = torch.tensor(answer["predictions"])
    torch.testing.assert_close(logits, expected_logits(recorded_run, file), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_documented_ray_serve_application_answers_a_png(run: Path) -> None:
    pytest.importorskip("ray.serve")
    tokens = MarkdownIt("commonmark").parse(PAGE.read_text(encoding="utf-8"))
    code = next(t.content for t in tokens if t.type == "fence" and "serve.deployment" in t.content)
    (run.parent / "serve_student.py").write_text(code)
    fastdfkd.export_student(run, "onnx", out=run.parent / "student.onnx")
    file, port = png(), free_port()
    starter = (
        "import ray, signal, time\nfrom ray import serve\nimport serve_student\n"
        "ray.init(num_cpus=2, include_dashboard=False)\n"
        f"serve.start(http_options={{'host': '127.0.0.1', 'port': {port}}})\n"
        "serve.run(serve_student.app)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", starter]
    variables = {"PYTHONPATH": str(run.parent), "RAY_raylet_start_wait_time_s": "240"}
    with server(command, run / "server.log", **variables) as served:
        answer = served.answer(f"http://127.0.0.1:{port}/", file, "image/png")
    logits = torch.tensor([answer["logits"]])
    expected = expected_logits(run, file)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert answer["class"] == str(int(expected.argmax()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "pt2", "--name", "x"], "--name registers a model, which is for --to mlflow"),
        (["--to", "mlflow", "--alias", "x"], "--alias is of a registered model"),
        (["--to", "mlflow", "--name", "a/b"], "--name: expected a name without"),
        (["--to", "mlflow", "--name", "x", "--alias", "latest"], "--alias: expected letters"),
        (["--to", "mlflow", "--name", "x", "--alias", "v2"], "--alias: expected letters"),
    ],
)
def test_names_that_cannot_be_registered_are_refused_first(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["export", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_the_store_does_not_have_is_named(tracking_uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be registered as tiny in sqlite"):
        register(tracking_uri, "fastdfkd", "0" * 32, tmp_path, name="tiny", alias="a", about="")
