"""The parts of a look at a card run on a CPU too, with small batches, and with torch alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import plain_sections
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import compiled_part, parts
from benchmarks.gpu.__main__ import main
from fastdfkd.core import torch_versions

ROOT = Path(__file__).resolve().parents[3]
BARE = """
import sys
LACKING = set(%r)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LACKING:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
import importlib.util
found = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name.partition(".")[0] in LACKING else found(name, package)
importlib.util.find_spec = find_spec
"""
LACKING = (
    *("ray", "mlflow", "pydantic", "omegaconf", "typer", "rich", "pandas", "sklearn"),
    *("matplotlib", "PIL", "numpy", "pyarrow", "filelock", "psutil", "optuna", "jinja2"),
    *("safetensors", "packaging", "torchvision", "pytest", "hypothesis"),
)
"""What a machine with torch alone may lack."""

TINY = ["--device", "cpu", "--pair", "resnet8-half/resnet8-half"]


@pytest.fixture(autouse=True)
def budget_begins_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with the import, as in a process of its own: minutes before, among other tests."""
    monkeypatch.setattr(command, "BEGAN", time.monotonic())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "matmul_peaks", lambda _: {"float32": 1e11, "bfloat16": 1e11})


def test_plain_sections_have_the_packages_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails: `python -m benchmarks.plain_sections`."""
    assert json.loads(plain_sections.FILE.read_text()) == plain_sections.defaults()
    real = plain_sections.fast_section(steps=3), plain_sections.distillation_section()
    monkeypatch.setattr(plain_sections, "is_plain", lambda: True)
    plain = plain_sections.fast_section(steps=3), plain_sections.distillation_section()
    for name in ("steps_per_batch", "bn_weight", "has_steps", "shares_generator"):
        assert getattr(plain[0], name) == getattr(real[0], name)
    changed = plain[1].model_copy(update={"teacher_cache": 4})
    assert (changed.teacher_cache, plain[1].teacher_cache) == (4, None)
    assert changed.lr == real[1].lr


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_what_bounds_a_step_is_measured_on_a_cpu(tmp_path: Path) -> None:
    words = ["--budget", "100", "--out", str(tmp_path), *TINY, "--only", "limits"]
    assert main(words) == 0
    rows = json.loads((tmp_path / "limits.json").read_text())["rows"]
    assert {row["role"] for row in rows} == {"synthesis", "update"}
    assert all(row["kernels"] > 10 and row["flops"] > 0 for row in rows)
    assert "next limit" in (tmp_path / "limits.md").read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())["parts"]
    assert [each["part"] for each in summary] == ["versions", "limits"]


@pytest.mark.usefixtures("tiny")
def test_compiled_parts_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in: the compiler would take minutes."""
    monkeypatch.setattr(torch_versions, "compiled", lambda function: function)
    monkeypatch.setattr(compiled_part, "precisions", lambda _: ("float32",))
    words = ["--budget", "100", "--out", str(tmp_path), "--repeats", "1", *TINY]
    assert main([*words, "--only", "compiled"]) == 0
    rows = json.loads((tmp_path / "compiled.json").read_text())["rows"]
    networks = ["the teacher", "the student"]
    assert [row["part"] for row in rows if row["role"] == "update"] == [
        "the augmentation",
        *networks,
        "whole step",
    ]
    made = ["the teacher", "the student", "the generator", "whole step"]
    assert sorted(row["part"] for row in rows if row["role"] == "synthesis") == sorted(made)
    assert all(row["compiled_seconds"] > 0 and row["compile_seconds"] >= 0 for row in rows)
    assert "plain / compiled" in (tmp_path / "compiled.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_all_tables_on_a_cpu(tmp_path: Path) -> None:
    words = ["--budget", "250", "--out", str(tmp_path), "--repeats", "1", *TINY]
    assert main([*words, "--only", "steps", "memory"]) == 0
    assert "against naive" in (tmp_path / "steps.md").read_text()
    rows = json.loads((tmp_path / "memory.json").read_text())["rows"]
    assert all(row["largest_batch"]["80"] > row["largest_batch"]["8"] for row in rows)


@pytest.mark.slow
def test_torch_alone_is_enough_and_the_budget_is_kept(tmp_path: Path) -> None:
    code = BARE % (LACKING,) + (
        "from benchmarks.gpu.__main__ import main\n"
        f"sys.exit(main(['--budget', '45', '--out', {str(tmp_path)!r}, *{TINY!r}]))\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert time.monotonic() - began < 60
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())["parts"]
    outcomes = {each["part"]: each["outcome"] for each in summary}
    assert outcomes["tests"] == "not measured: pytest, hypothesis, pydantic not installed"
    assert outcomes["product"].startswith("not measured: ray, mlflow")
    assert (tmp_path / "steps.json").is_file()


def test_with_torch_alone_everything_can_be_imported() -> None:
    code = BARE % (LACKING,) + "import benchmarks.gpu.parts as p; print(p.lacks_product(None))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "ray, mlflow, pydantic not installed", done.stderr
