"""The set-up chooses the build of torch. A script stands in for uv and says what it was asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy import set_up

CPU = ["torch==2.0+cpu", "torchvision==3.0+cpu"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with pinned versions, on Linux without a GPU."""
    (tmp_path / "constraints.txt").write_text(
        "torch==2.0 ; python_version >= '3'\ntorchvision==3.0\n"
    )
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    monkeypatch.setattr(set_up.platform, "system", lambda: "Linux")
    monkeypatch.setattr(set_up, "has_gpu", lambda: False)
    monkeypatch.delenv("FASTDFKD_TORCH", raising=False)
    return tmp_path


def fake_uv(root: Path, found: str) -> str:
    """A program that fails for a dry run unless its arguments contain `found`."""
    program = root / "uv"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {root}/asked\n'
        f'case "$@" in *--dry-run*) case "$@" in {found}) exit 0;; *) exit 1;; esac;; esac\n'
        "exit 0\n"
    )
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("found", "arguments", "why"),
    [
        ("*+cpu*", CPU, "from the package index (there is no GPU)"),
        ("*--torch-backend*", ["--torch-backend", "cpu"], "from PyTorch's index"),
        ("nothing", [], "neither the package index nor PyTorch's offers a build for CPUs"),
    ],
)
def test_without_a_gpu_the_build_for_cpus_if_there_is_one(
    root: Path, found: str, arguments: list[str], why: str
) -> None:
    chosen, said = set_up.torch_build(fake_uv(root, found), sys.executable)
    assert chosen == arguments
    assert why in said
    asked = (root / "asked").read_text().splitlines()
    assert all("--dry-run --reinstall" in line for line in asked)


def test_with_a_gpu_nothing_is_searched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up, "has_gpu", lambda: True)
    chosen, said = set_up.torch_build(fake_uv(root, "*"), sys.executable)
    assert (chosen, said) == ([], "torch with CUDA (there is a GPU)")
    assert not (root / "asked").exists()
    monkeypatch.setenv("FASTDFKD_TORCH", "cpu")
    assert set_up.torch_build(fake_uv(root, "*"), sys.executable)[0] == CPU


def test_the_user_decides(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDFKD_TORCH", "cuda")
    assert set_up.torch_build(fake_uv(root, "*"), sys.executable)[0] == []
    monkeypatch.setenv("FASTDFKD_TORCH", "gpu")
    with pytest.raises(SystemExit, match="expected cpu or cuda, got gpu"):
        set_up.torch_build(fake_uv(root, "*"), sys.executable)


def test_the_set_up_installs_and_reports(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    python = root / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_bytes(bytes(3_000_000))
    assert set_up.main(fake_uv(root, "*+cpu*"), str(python)) == 0
    installed = (root / "asked").read_text().splitlines()[-1]
    assert "-c constraints.txt torch==2.0+cpu torchvision==3.0+cpu -e .[dev]" in installed
    output = capfd.readouterr().out
    assert "env/ has 3 MB" in output
    assert "over the network" in output


def test_the_pins_are_those_of_the_project() -> None:
    assert all(version[0].isdigit() for version in set_up.pins().values())
