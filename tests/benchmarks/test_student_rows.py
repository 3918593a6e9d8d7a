"""Rows are written one by one, and only missing ones are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import student_rows
from benchmarks.student_rows import Student

SETTINGS = {"recipe": {}, "2 steps": {"synthesis.steps": 2}, "10 steps": {"synthesis.steps": 10}}
STUDENTS = [Student("digits-fast5", label, 0, changes) for label, changes in SETTINGS.items()]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The settings that were measured, in place of training. "10 steps" is interrupted once."""
    done: list[str] = []

    def measured(student: Student) -> dict[str, Any]:
        done.append(student.setting)
        if done == ["recipe", "2 steps", "10 steps"]:
            raise KeyboardInterrupt
        return {
            "setting": student.setting,
            "seed": student.seed,
            "recipe": student.recipe.digest(),
            "accuracy": len(done) / 10,
        }

    monkeypatch.setattr(student_rows, "measured", measured)
    monkeypatch.setattr(student_rows, "judged", lambda base, images: None)
    return done


def test_an_interrupted_measurement_goes_on(trained: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    with pytest.raises(KeyboardInterrupt):
        student_rows.student_rows(STUDENTS, file)
    assert [row["setting"] for row in json.loads(file.read_text())] == ["recipe", "2 steps"]
    rows = student_rows.student_rows(STUDENTS, file)
    assert trained == ["recipe", "2 steps", "10 steps", "10 steps"]
    assert [row["setting"] for row in rows] == list(SETTINGS)
    assert [row["accuracy"] for row in rows] == [0.1, 0.2, 0.4]
    assert json.loads(file.read_text()) == rows


def test_a_row_of_another_recipe_is_measured_again(trained: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    student_rows.student_rows(STUDENTS[:1], file)
    changed = Student("digits-fast5", "recipe", 0, {"synthesis.lr_z": 0.02})
    (row,) = student_rows.student_rows([changed], file)
    assert trained == ["recipe", "recipe"]
    assert (row["accuracy"], row["recipe"]) == (0.2, changed.recipe.digest())
    assert json.loads(file.read_text()) == [row]
