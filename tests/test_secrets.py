"""A password in `tracking.uri` is sent to the MLflow server; it is not stored or printed."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import fastdfkd
from fastdfkd.addresses import credentials
from fastdfkd.cli import commands as cli
from fastdfkd.jobs import submit
from fastdfkd.recipe import Recipe, load_recipe
from tests.guarded_server import IN_URI, PASSWORD, USER, GuardedServer

ROOT = Path(fastdfkd.__file__).parents[1]
SECRETS = (PASSWORD, IN_URI)


@pytest.fixture
def server(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuardedServer]:
    """A server whose password this process does not know yet."""
    monkeypatch.setattr(credentials, "_full_uris", {})
    with GuardedServer(tmp_path_factory.mktemp("artifacts")) as started:
        yield started
    credentials.set_login_variables("http://of-nobody")
    assert not {credentials.USER, credentials.PASSWORD} & set(os.environ)


@pytest.fixture
def tiny(workplace: Path, tiny_recipe: Callable[..., Recipe], server: GuardedServer) -> Path:
    """A recipe file with the password, as a user may write it."""
    values = tiny_recipe().model_dump(exclude={"tracking"})
    values["tracking"] = {"uri": f"http://{IN_URI}@{server.place}"}
    file = server.artifacts.parent / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def stored(*folders: Path) -> bytes:
    """Names and contents of all files in the folders."""
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return b"\n".join(str(file).encode() + b"\n" + file.read_bytes() for file in files)


def check_no_secret(what: bytes | str, about: str) -> None:
    content = what.encode() if isinstance(what, str) else what
    assert len(content) > 100, f"nothing was checked: {about}"
    for secret in SECRETS:
        at = content.find(secret.encode())
        assert at < 0, f"{about}: {content[max(at - 200, 0) : at + 50]!r}"


def test_a_run_that_is_resumed_leaves_no_password_anywhere(
    workplace: Path,
    tiny: Path,
    server: GuardedServer,
    platform: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    platform.error = RuntimeError("boom")
    with pytest.raises(RuntimeError, match="boom"):
        cli.run(["distill", str(tiny), "--out", "out"])
    assert server.refused == 0
    assert load_recipe("out/recipe.yaml").tracking.uri == f"http://{server.place}"

    platform.error = None
    credentials._full_uris.clear()
    credentials.set_login_variables("http://of-nobody")
    assert cli.run(["distill", "--resume", "out"]) == 2
    output = capfd.readouterr()
    assert "it needs a valid user and password" in output.err
    assert credentials.HINT in output.err
    check_no_secret(output.out + output.err, "what was printed")

    before = server.refused
    with monkeypatch.context() as later:
        later.setenv(credentials.URI, f"http://{IN_URI}@{server.place}")
        assert cli.run(["distill", "--resume", "out"]) == 0
    assert server.refused == before
    output = capfd.readouterr()
    assert f"View run run at: http://{server.place}/#/" in output.out
    check_no_secret(output.out + output.err, "what was printed")
    check_no_secret(stored(workplace, server.artifacts), "the run's files and artifacts")
    check_no_secret(b"\n".join(server.bodies), "parameters, tags and metrics")
    check_no_secret(caplog.text, "the log")
    assert (server.artifacts / "recipe.yaml").is_file()


def test_no_representation_of_a_recipe_contains_the_password(tiny: Path) -> None:
    recipe = load_recipe(tiny)
    everything = f"{recipe!r} {recipe} {recipe.flat()} {recipe.to_yaml()} {recipe.model_dump()}"
    check_no_secret(everything, "the recipe")
    changed = load_recipe(recipe, {"seed": 3})
    assert changed.tracking == recipe.tracking
    assert changed.tracking.uri is not None
    assert credentials.login_variables(changed.tracking.uri)[credentials.PASSWORD] == PASSWORD


def test_a_bad_uri_is_refused_without_repeating_it(capsys: pytest.CaptureFixture[str]) -> None:
    for uri in (f"http://host?token={PASSWORD}", f"http://me:{PASSWORD}/x@host"):
        assert cli.run(["distill", "digits-fast5", f"tracking.uri={uri}"]) == 2
    output = capsys.readouterr().err
    assert output.count("tracking.uri: expected") == 2
    assert PASSWORD not in output


def test_a_job_does_not_get_the_credentials_but_the_user_gets_a_message(
    tiny: Path, server: GuardedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(tiny)
    check_no_secret(str(submit.environment(recipe)), "the job's environment")
    message = submit.credentials_warning(recipe)
    assert message is not None
    assert f"the credentials of http://{server.place} are not sent" in message
    assert "`ray start` on the head" in message
    credentials._full_uris.clear()
    assert submit.credentials_warning(recipe) is None
    monkeypatch.setenv(credentials.TOKEN, "t")
    assert submit.credentials_warning(recipe) is not None


def test_the_process_starts_itself_again_without_credentials_on_the_command_line() -> None:
    """All users can read it with `ps`, and Ray stores it as the driver's entry point."""
    code = (
        "import sys, psutil, os\n"
        "from fastdfkd.cli import commands, main\n"
        "commands.run = lambda words: print(words, psutil.Process().cmdline()) or 0\n"
        "main()\n"
    )
    uri = f"http://{IN_URI}@host:5000"
    for word, bare in (
        (f"tracking.uri={uri}", "tracking.uri=http://host:5000"),
        (f"tracking={{uri: '{uri}'}}", "tracking={uri: 'http://host:5000'}"),
        (f"tracking.uri=postgresql://{IN_URI}@host/db", "tracking.uri=postgresql://host/db"),
        ("tracking.uri=http://host:5000", "tracking.uri=http://host:5000"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, "distill", "x", word],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, credentials.URI: uri},
        )
        assert bare in done.stdout
        check_no_secret(done.stdout + done.stderr, word)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server without users and passwords."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(30)
        psutil.wait_procs(below, timeout=30)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_real_runs_and_a_real_sweep_on_a_real_server(
    workplace: Path, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The files of Ray, such as its logs, are checked too."""
    temporary = tmp_path_factory.mktemp("r")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(temporary),
    }
    del environment["MLFLOW_TRACKING_URI"]
    (workplace / "space.yaml").write_text("space:\n  synthesis.steps: {choice: [1, 2]}\n")
    small = [
        "teacher.epochs=1",
        "synthesis.steps=2",
        "synthesis.rounds=4",
        "synthesis.warmup_rounds=1",
        "synthesis.batch_size=16",
        "synthesis.latent_dim=8",
        "synthesis.generator_width=4",
        "distillation.updates_per_round=2",
        "distillation.batch_size=16",
        "platform.evaluations=1",
    ]
    with GuardedServer(workplace, mlflow_server) as server:
        uri = f"tracking.uri=http://{IN_URI}@{server.place}"
        for words in (
            ["distill", "digits-fast5", *small, uri, "--out", "run"],
            ["sweep", "digits-fast5", "space.yaml", "--search", "grid", *small, uri],
        ):
            done = subprocess.run(
                [sys.executable, "-c", "from fastdfkd.cli import main; main()", *words],
                cwd=workplace,
                env=environment,
                capture_output=True,
                text=True,
                timeout=400,
            )
            assert done.returncode == 0, done.stderr
            check_no_secret(done.stdout + done.stderr, "what was printed")
        assert server.refused == 0
        sent = b"\n".join(server.bodies)
    assert sent.count(b"runs/create") == 4, "a run, a sweep and its two trials"
    check_no_secret(sent, "requests to the server")
    check_no_secret(stored(workplace), "the runs' files")
    check_no_secret(stored(temporary), "Ray's files")
    assert USER not in (workplace / "run/recipe.yaml").read_text()
