"""Rows are written one by one, and only missing ones are measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import student_rows
from benchmarks.student_rows import Row, Student, cell, finished
from fastdfkd.core.methods.loss_terms import DivergedError

SETTINGS = {"recipe": {}, "2 steps": {"synthesis.steps": 2}, "10 steps": {"synthesis.steps": 10}}
STUDENTS = [Student("digits-fast5", label, 0, changes) for label, changes in SETTINGS.items()]


class Trained(list[str]):
    """The settings that were measured, in place of training. "10 steps" is interrupted once."""

    def measure(self, student: Student) -> Row:
        """A row whose accuracy counts the settings."""
        self.append(student.setting)
        if self == ["recipe", "2 steps", "10 steps"]:
            raise KeyboardInterrupt
        return {**student.facts, "accuracy": len(self) / 10}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Nothing is measured yet, and no teacher is needed."""
    monkeypatch.setattr(student_rows, "judged", lambda student: None)
    return Trained()


def test_an_interrupted_measurement_goes_on(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    with pytest.raises(KeyboardInterrupt):
        student_rows.student_rows(STUDENTS, file, measure=trained.measure)
    assert [row["setting"] for row in json.loads(file.read_text())] == ["recipe", "2 steps"]
    rows = student_rows.student_rows(STUDENTS, file, measure=trained.measure)
    assert trained == ["recipe", "2 steps", "10 steps", "10 steps"]
    assert [row["setting"] for row in rows] == list(SETTINGS)
    assert [row["accuracy"] for row in rows] == [0.1, 0.2, 0.4]
    assert json.loads(file.read_text()) == rows


def test_a_row_of_another_recipe_is_measured_again(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    student_rows.student_rows(STUDENTS[:1], file, measure=trained.measure)
    changed = Student("digits-fast5", "recipe", 0, {"synthesis.lr_z": 0.02})
    (row,) = student_rows.student_rows([changed], file, measure=trained.measure)
    assert trained == ["recipe", "recipe"]
    assert (row["accuracy"], row["recipe"]) == (0.2, changed.recipe.digest())
    assert json.loads(file.read_text()) == [row]


def test_a_row_that_is_not_complete_is_kept_until_it_is_measured_again(
    trained: Trained, tmp_path: Path
) -> None:
    file = tmp_path / "rows.json"
    before = [{**student.facts, "accuracy": 0.0} for student in STUDENTS]
    file.write_text(json.dumps(before))

    def rows() -> list[Row]:
        return student_rows.student_rows(
            STUDENTS, file, measure=trained.measure, is_complete=lambda row: row["accuracy"] > 0
        )

    with pytest.raises(KeyboardInterrupt):
        rows()
    assert [row["accuracy"] for row in json.loads(file.read_text())] == [0.1, 0.2, 0.0]
    assert [row["accuracy"] for row in rows()] == [0.1, 0.2, 0.4]


def test_a_student_that_diverges_is_a_row_and_the_next_one_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def figures(student: Student) -> dict[str, float]:
        match student.setting:
            case "recipe":
                raise DivergedError(3, ["bn"])
            case "2 steps":
                return {"accuracy": 0.1, "synthetic_kl": float("nan")}
            case _:
                return {"accuracy": 0.9, "synthetic_kl": 0.5}

    monkeypatch.setattr(student_rows, "judged", lambda student: None)
    file = tmp_path / "rows.json"
    rows = student_rows.student_rows(
        STUDENTS, file, measure=lambda student: student_rows.row_of(student, figures)
    )
    assert rows[0]["diverged"].startswith("synthesis of round 3 diverged")
    assert rows[1]["diverged"] == "the student's synthetic_kl is not finite"
    assert "accuracy" not in rows[1]
    assert rows[2]["accuracy"] == 0.9
    assert json.loads(file.read_text()) == rows


def test_a_setting_of_which_one_student_diverged_has_a_mean_and_no_rank() -> None:
    rows = [
        {"setting": "a", "seed": 0, "accuracy": 0.5},
        {"setting": "b", "seed": 0, "accuracy": 0.7},
        {"setting": "a", "seed": 1, "diverged": "why"},
        {"setting": "b", "seed": 1, "accuracy": 0.9},
    ]
    assert finished(rows) == [rows[1], rows[3]]
    assert cell([rows[0], rows[2]], "accuracy") == "50.0 % (1 of 2 diverged)"
    assert cell([rows[2]], "accuracy") == "diverged"
