"""Submit a recipe to a fake job server that speaks Ray's protocol and keeps all requests.

With a real cluster: tests/cluster/test_jobs.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastdfkd.cli import commands as cli
from fastdfkd.jobs.submit import RECIPE_VARIABLE, SubmissionError, connect, entrypoint, submit
from fastdfkd.recipe import Recipe, RecipeError, load_recipe
from fastdfkd.recipe.source_texts import SOURCES_VARIABLE, text_of

TOKEN = "b" * 64


class JobServer(ThreadingHTTPServer):
    """Accepts jobs as a head's dashboard does; `answer` replaces its usual answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: list[dict[str, Any]] = []
        self.answer: tuple[int, str] | None = None
        self.refusal = ""
        """Reason with which jobs are refused; empty: they are accepted."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: JobServer

    def do_GET(self) -> None:
        self.reply({"version": "4", "ray_version": "2.60.0", "ray_commit": "x"})

    def do_POST(self) -> None:
        assert self.path == "/api/jobs/"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.jobs.append(json.loads(body))
        if self.server.refusal:
            self.server.answer = (500, self.server.refusal)
        self.reply({"job_id": "j", "submission_id": "raysubmit_j"})

    def reply(self, values: dict[str, str]) -> None:
        code, text = self.server.answer or (200, json.dumps(values))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobServer]:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with JobServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_only_the_recipe_with_its_overrides_is_sent(server: JobServer) -> None:
    _, job = submit("digits-fast5", ["synthesis.steps=2"], address=server.address, out="/shared/k2")
    assert job == "raysubmit_j"
    (sent_job,) = server.jobs
    assert sent_job["runtime_env"].keys() == {"env_vars"}, "no working_dir is uploaded"
    variables = sent_job["runtime_env"]["env_vars"]
    assert variables.keys() == {RECIPE_VARIABLE, "RAY_JOB_STOP_WAIT_TIME_S"}
    done = subprocess.run(
        ["/bin/sh", "-c", f'fastdfkd() {{ echo "$@"; cat; }}; {sent_job["entrypoint"]}'],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    words, _, text = done.stdout.partition("\n")
    assert words == "distill - --out /shared/k2"
    sent = Recipe.model_validate(yaml.safe_load(text))
    assert sent == load_recipe("digits-fast5", ["synthesis.steps=2"])
    assert "gpus_per_worker" not in text, "open values are chosen on the cluster"
    assert sent_job["metadata"]["recipe"] == "digits-fast5"


def test_the_files_that_a_recipe_names_go_along(
    server: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text("built = 'here'")
    monkeypatch.chdir(tmp_path)
    submit("digits-fast5", ["student.model=net.py:build"], address=server.address)
    variables = server.jobs[0]["runtime_env"]["env_vars"]
    (tmp_path / "net.py").unlink()
    monkeypatch.setenv(SOURCES_VARIABLE, variables[SOURCES_VARIABLE])
    assert text_of("net.py") == "built = 'here'"


def test_a_file_that_is_not_there_is_refused_before_anything_is_sent(server: JobServer) -> None:
    with pytest.raises(RecipeError, match=r"no file 'absent\.py'"):
        submit("digits-fast5", ["student.model=absent.py:build"], address=server.address)
    assert server.jobs == []


def test_distill_reads_the_recipe_from_a_pipe(tmp_path: Path) -> None:
    text = load_recipe("digits-fast5", ["seed=7"]).to_yaml()
    code = (
        "from fastdfkd.recipe import load_recipe; print(load_recipe('-', ['name=piped']).digest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == load_recipe("digits-fast5", ["seed=7"]).digest()


@pytest.mark.parametrize("name", ["a b", "$(touch x)", "it's"])
def test_a_folder_is_one_word_of_the_shell(name: str, tmp_path: Path) -> None:
    line = f'fastdfkd() {{ printf "%s\\n" "$@"; }}; {entrypoint(f"/runs/{name}", overwrite=True)}'
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == ["distill", "-", "--out", f"/runs/{name}", "--overwrite"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "sent"),
    [
        ("http://127.0.0.1:5000", True),
        ("sqlite:////home-of-mine/mlflow.db", False),
        ("https://user:secret@mlflow.example", False),
    ],
)
def test_only_a_server_without_credentials_is_passed_on(
    server: JobServer, monkeypatch: pytest.MonkeyPatch, uri: str, sent: bool
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    submit("digits-fast5", address=server.address)
    variables = server.jobs[0]["runtime_env"]["env_vars"]
    assert (variables.get("MLFLOW_TRACKING_URI") == uri) is sent
    assert variables.get("MLFLOW_TRACKING_URI", "").startswith("http") is uri.startswith("http")
    assert "secret" not in json.dumps(server.jobs)


def test_the_address_that_was_named_wins(
    server: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself prefers RAY_ADDRESS to its argument."""
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    assert connect(server.address).get_address() == server.address
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", server.address + "/")
    assert connect().get_address() == server.address


def test_a_bad_recipe_is_never_sent(server: JobServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["submit", "digits-fast5", "synthesis.stepz=2", "--address", server.address]
    assert cli.run(words) == 2
    assert "did you mean steps?" in capsys.readouterr().err
    assert server.jobs == []


def test_a_relative_folder_is_refused(server: JobServer) -> None:
    with pytest.raises(ValueError, match="absolute folder of the cluster"):
        submit("digits-fast5", address=server.address, out="runs/k2")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:6379",
        "ray://127.0.0.1:10001",
        "auto",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://",
    ],
)
def test_an_address_that_is_not_http_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected the HTTP address"):
        connect(address)


def test_an_address_where_nothing_listens_is_a_clear_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with JobServer() as gone:
        address = gone.address
    assert cli.run(["submit", "digits-fast5", "--address", address]) == 2
    stderr = capsys.readouterr().err
    assert f"no Ray cluster answers at {address} (Connection refused)" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        (401, "Unauthorized: Missing authentication token", "Missing authentication token"),
        (403, "Forbidden: Invalid authentication token", "Invalid authentication token"),
    ],
)
def test_a_refused_token_gives_the_reason_and_what_to_do(
    server: JobServer, code: int, text: str, message: str
) -> None:
    server.answer = (code, text)
    with pytest.raises(SubmissionError, match=f"(?s){message}.*RAY_AUTH_TOKEN_PATH"):
        submit("digits-fast5", address=server.address)


@pytest.mark.parametrize("all_requests", [True, False], ids=["all requests", "only the job"])
def test_a_job_that_is_refused(server: JobServer, all_requests: bool) -> None:
    server.answer = (500, "no space left") if all_requests else None
    server.refusal = "no space left"
    with pytest.raises(SubmissionError, match=r"did not accept the request.*500|no space left"):
        submit("digits-fast5", address=server.address)


def test_no_follow_prints_only_the_id(
    server: JobServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["submit", "digits-fast5", "--address", server.address, "--no-follow"]
    assert cli.run(words) == 0
    assert capsys.readouterr().out == "raysubmit_j\n"
