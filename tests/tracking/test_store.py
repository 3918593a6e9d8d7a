"""The place of the MLflow store, and the errors for a store that cannot be opened."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastdfkd.tracking import ParentRun, TrackingError, check_reachable, store_uri
from fastdfkd.tracking.store import open_store


def test_the_store_is_that_of_the_recipe_or_the_environment_or_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri() == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert store_uri() == "http://localhost:5000"
    assert store_uri("sqlite:////elsewhere.db") == "sqlite:////elsewhere.db"


def test_artifacts_are_next_to_the_database(workplace: Path, tracking_uri: str) -> None:
    with ParentRun("artifacts") as parent:
        pass
    uri = open_store(tracking_uri, "fastdfkd").client.get_run(parent.run_id).info.artifact_uri
    folder = Path(tracking_uri.removeprefix("sqlite:///")).parent
    assert uri.startswith((folder / "mlartifacts").as_uri())


@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_a_server_that_does_not_run_is_an_error_at_once(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    with pytest.raises(TrackingError, match=rf"127.0.0.1:{port} cannot be opened") as raised:
        check_reachable(f"{scheme}://user:secret@127.0.0.1:{port}")
    assert time.perf_counter() - started < 60, "MLflow itself retries for minutes"
    assert "secret" not in str(raised.value)
    assert "MLFLOW_TRACKING_URI" in str(raised.value)


def test_a_database_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path}/file/mlflow.db", "fastdfkd")


def test_a_database_that_refuses_a_run_is_an_error(workplace: Path, tracking_uri: str) -> None:
    with ParentRun("first"):
        pass
    refuse = "SELECT RAISE(ABORT, 'attempt to write a readonly database')"
    with sqlite3.connect(tracking_uri.removeprefix("sqlite:///")) as database:
        database.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON runs BEGIN {refuse}; END")
    with pytest.raises(TrackingError, match=r"cannot be opened \(.*readonly database"):
        ParentRun("second").__enter__()


def test_an_unknown_uri_scheme_is_an_error() -> None:
    with pytest.raises(TrackingError, match="no-such-scheme"):
        open_store("no-such-scheme://x", "fastdfkd")


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys, fastdfkd.tracking; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_two_processes_may_create_the_database_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from fastdfkd.tracking.store import open_store; "
        "print(open_store(sys.argv[1], 'fastdfkd').experiment_id)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({process.communicate(timeout=120)[0] for process in both}) == 1
    assert [process.returncode for process in both] == [0, 0]


def test_a_folder_that_is_not_writable_is_an_error_before_any_work() -> None:
    with pytest.raises(TrackingError, match=r"in /proc/no\. Set MLFLOW_TRACKING_URI=sqlite"):
        check_reachable("sqlite:////proc/no/mlflow.db")
