"""What the shell offers after Tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastdfkd.cli.completion import (
    complete_folder,
    complete_key,
    complete_override,
    complete_recipe,
    complete_space,
)


def test_recipes_by_name_and_by_file(workplace: Path) -> None:
    (workplace / "digits-mine.yaml").write_text("")
    (workplace / "digits.txt").write_text("")
    (workplace / "digits-folder").mkdir()
    offered = complete_recipe("digits")
    assert {"digits-fast5", "digits-mine.yaml", "digits-folder/"} <= set(offered)
    assert "digits.txt" not in offered
    assert "cifar10-resnet34-resnet18-fast10" in complete_recipe("cifar10-")
    assert "steps-and-meta-lr" in complete_space("steps")


def test_keys_then_words() -> None:
    assert complete_override("distillation.temp") == ["distillation.temperature="]
    assert complete_override("platform.schedule=") == [
        "platform.schedule=async",
        "platform.schedule=lockstep",
    ]
    assert complete_override("platform.schedule=l") == ["platform.schedule=lockstep"]
    assert complete_override("no.such=") == []
    assert {"bank", "bank.draws"} <= set(complete_key("bank"))


def test_folders(workplace: Path) -> None:
    (workplace / "runs/one").mkdir(parents=True)
    (workplace / ".hidden").mkdir()
    assert complete_folder("ru") == ["runs/"]
    assert complete_folder("runs/") == ["runs/one/"]
    assert ".hidden/" not in complete_folder("")
    assert complete_folder("absent/x") == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("status --wa", "--watch"), ("distill digits-fas", "digits-fast5"), ("recip", "recipes")],
)
def test_the_program_answers_a_shell(typed: str, expected: str) -> None:
    words = f"fastdfkd {typed}"
    asked = {"_FASTDFKD_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    line = [sys.executable, "-c", "from fastdfkd.cli import main; main()"]
    done = subprocess.run(
        line, env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert expected in done.stdout, done.stderr
