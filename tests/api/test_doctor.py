"""`doctor`: each check on a machine with and without the problem."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fastdfkd.api import doctor
from fastdfkd.api.doctor import Finding, examine
from fastdfkd.cli import commands as cli

GB = 10**9


def found(check: Callable[[], Iterator[Finding]], subject: str = "") -> Finding:
    """The finding about a subject; the first one without."""
    return next(finding for finding in check() if subject in finding.subject)


def test_this_machine_has_no_problem_and_the_report_is_plain_data(workplace: Path) -> None:
    findings = examine()
    assert {"versions", "processor", "GPU", "Ray", "MLflow store"} <= {f.subject for f in findings}
    assert [f for f in findings if f.level == "problem" and "memory" not in f.subject] == []
    assert not list(workplace.glob("runs/*")), "nothing is written"
    json.dumps([finding.facts() for finding in findings])


def test_a_package_that_is_too_old_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version
    fake = {"torch": "1.13.0"}
    monkeypatch.setattr(doctor, "version", lambda name: fake.get(name) or real(name))
    finding = found(doctor._check_packages, "torch")
    assert finding.level == "problem"
    assert "found 1.13.0" in finding.text
    assert finding.remedy.startswith("pip install 'torch")


def test_an_extra_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._installed
    absent = ("timm", "starlette")  # Ray Serve needs the second one
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name in absent else real(name))
    finding = found(doctor._check_packages, "extras")
    assert "not installed: serve, timm" in finding.text
    assert finding.remedy == "pip install 'fastdfkd[serve]'"


def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "hardware", lambda: {"gpus": ["NVIDIA H100"]})
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    finding = found(doctor._check_gpus)
    assert finding.level == "problem"
    assert "a build for CPUs" in finding.remedy


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "hardware", lambda: {"memory_gib": 100})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=GB))
    assert found(doctor._check_memory).level == "problem"
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=50 * GB))
    assert found(doctor._check_memory) == Finding("free memory", "ok", "50.0 of 107.4 GB")


def usage(free: int, total: int = 100 * GB) -> Callable[[Any], Any]:
    return lambda path: SimpleNamespace(free=free, used=total - free, total=total)


def test_full_disks_and_small_shared_memory(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", usage(10**7))
    assert found(doctor._check_disks, "runs").level == "problem"
    assert "fastdfkd clean" in found(doctor._check_disks, "runs").remedy
    assert found(doctor._check_shared_memory).level == "note"
    monkeypatch.setattr(shutil, "disk_usage", usage(50 * GB))
    assert {finding.level for finding in doctor._check_disks()} == {"ok"}
    monkeypatch.setattr(shutil, "disk_usage", usage(4 * GB))
    assert found(doctor._check_disks, "temporary").level == "note"


def test_a_folder_that_is_not_writable(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDFKD_HOME", "/proc/fastdfkd")
    finding = found(doctor._check_disks, "cache")
    assert (finding.level, finding.remedy) == ("problem", "set FASTDFKD_HOME to a writable folder")


def test_an_address_where_no_cluster_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    finding = found(doctor._check_ray)
    assert finding.level == "problem"
    assert address in finding.text


def test_the_store_is_read_and_never_created(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workplace / "runs/mlflow.db"
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
        assert "which the first run creates" in found(doctor._check_store).text
        assert not file.parent.exists()
        file.parent.mkdir()
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE runs (id)")
        assert found(doctor._check_store).text.endswith("mlflow.db, 0 runs")
        file.write_bytes(b"not a database" * 100)
        assert found(doctor._check_store).level == "problem"


def test_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        monkeypatch.setattr(doctor, "_PORTS", {"ui": port})
        finding = found(doctor._check_ports)
    assert (finding.level, finding.remedy) == ("note", f"fastdfkd ui --port {port + 1}")


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("no such device")
        yield

    monkeypatch.setattr(doctor, "_CHECKS", {"GPU": broken})
    (finding,) = examine()
    assert finding == Finding("GPU", "note", "could not be checked: no such device")


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_the_exit_code_says_whether_there_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: Any, code: int
) -> None:
    finding = Finding("Ray", level, "a text", "a remedy")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    assert cli.run(["doctor"]) == code
    output = capsys.readouterr().out
    assert "a text" in output
    assert "-> a remedy" in output
    assert cli.run(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == [finding.facts()]
