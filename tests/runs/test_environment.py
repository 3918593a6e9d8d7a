from __future__ import annotations

import json
import platform
import re
import subprocess
from pathlib import Path

import pytest

import fastdfkd
from fastdfkd.runs import environment

ROOT = Path(fastdfkd.__file__).resolve().parents[1]


def test_versions_contain_python_and_the_main_packages() -> None:
    found = environment.versions()
    assert found["python"] == platform.python_version()
    assert {"torch", "ray", "mlflow"} <= set(found)
    assert all(found.values())


def test_hardware_is_plain_data() -> None:
    found = environment.hardware()
    assert set(found) == {"processor", "cores", "memory_gib", "gpus"}
    assert 0 < found["cores"] <= 4096
    assert found["memory_gib"] > 0.1
    assert json.loads(json.dumps(found)) == found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads keys that x86 has")
@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")
def test_the_processor_name_includes_its_generation() -> None:
    assert re.search(r"\w.* family \d+ model \d+$", environment.hardware()["processor"])


def test_what_is_returned_is_a_copy() -> None:
    environment.versions()["python"] = "altered"
    environment.hardware()["gpus"].append("altered")
    assert environment.versions()["python"] == platform.python_version()
    assert "altered" not in environment.hardware()["gpus"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the module takes for the checkout that it belongs to."""
    package = tmp_path / "fastdfkd"
    package.mkdir()
    monkeypatch.setattr(environment, "__file__", str(package / "runs" / "environment.py"))
    environment.commit.cache_clear()
    yield tmp_path
    environment.commit.cache_clear()


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_says_when_there_are_local_changes(checkout: Path) -> None:
    git(checkout, "init", "-q")
    (checkout / "fastdfkd" / "a.py").write_text("1\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "one")
    head = git(checkout, "rev-parse", "HEAD")
    assert environment.commit() == head
    (checkout / "fastdfkd" / "a.py").write_text("2\n")
    environment.commit.cache_clear()
    assert environment.commit() == f"{head}-dirty"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_commit_of_this_checkout_is_found() -> None:
    environment.commit.cache_clear()
    assert environment.commit().removesuffix("-dirty") == git(ROOT, "rev-parse", "HEAD")


def test_outside_git_the_commit_is_unknown(checkout: Path) -> None:
    assert environment.commit() == "unknown"
