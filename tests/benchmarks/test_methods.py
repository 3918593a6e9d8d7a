"""The rows of all methods, a tiny run of one, and what the page says of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import methods
from benchmarks.method_page import at_synthesis, draw, page
from benchmarks.method_settings import SETTINGS, labels, students
from benchmarks.student_rows import Student
from fastdfkd.models import build_network
from fastdfkd.recipe import load_recipe
from fastdfkd.recipe.methods.table import METHODS


@pytest.mark.parametrize("data", SETTINGS)
def test_every_method_has_a_row_that_can_be_run(data: str) -> None:
    rows = students(data, 2, labels(data))
    assert [row.seed for row in rows] == [0] * (len(rows) // 2) + [1] * (len(rows) // 2)
    recipes = [row.recipe for row in rows]
    assert {recipe.synthesis.method_name() for recipe in recipes} == {*METHODS} - {"auto"}
    shown = load_recipe(f"{data}-fast5")
    for recipe in recipes:
        assert recipe.data == shown.data
        assert recipe.teacher == shown.teacher
        assert recipe.student == shown.student
        assert recipe.capacity <= 20_000


def test_only_some_rows() -> None:
    assert [row.setting for row in students("digits", 1, ["dafl"])] == ["dafl"]


def test_a_run_has_readings_and_goes_on_to_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path))
    torch.manual_seed(0)
    teacher = build_network("resnet8-half", 10, 1).eval()

    class Judge:
        def answers(self, network: torch.nn.Module, *_: Any) -> Any:
            return network

        def figures(self, *_: Any) -> dict[str, float]:
            return {"accuracy": 0.3, "agreement": 0.4}

    monkeypatch.setattr(methods, "judged", lambda student: (teacher, Judge(), None))
    changes = {
        "synthesis.steps": 1,
        "synthesis.rounds": 1000,
        "synthesis.warmup_rounds": 1,
        "synthesis.batch_size": 4,
        "distillation.updates_per_round": 2,
        "distillation.batch_size": 4,
        "bank.capacity": 8,
    }
    student = Student("digits-fast5", "fast", 0, changes)
    first = methods.timed_row(student, [0.5])  # type: ignore[list-item]
    second = methods.timed_row(student, [0.5, 1.0])  # type: ignore[list-item]
    assert second["readings"][0] == first["readings"][0]
    early, late = second["readings"]
    assert late["updates"] > early["updates"] > 0
    assert early["synthesis_seconds"] + early["distillation_seconds"] >= 0.5
    assert (late["accuracy"], second["accuracy"], second["seconds"]) == (0.3, 0.3, 1.0)


def row(label: str, seed: int, *accuracies: float, **more: Any) -> dict[str, Any]:
    readings = [
        {
            "seconds": seconds,
            "synthesis_seconds": seconds / 2,
            "distillation_seconds": seconds / 2,
            "images": 64,
            "updates": 10,
            "accuracy": accuracy,
            "symptoms": [],
            "forward_seconds": 0.02,
        }
        for seconds, accuracy in zip((10, 20), accuracies, strict=False)
    ]
    return {"setting": label, "seed": seed, "readings": readings, **more}


ROWS = [
    row("fast", 0, 0.5, 0.9),
    row("fast, sequential", 0, 0.6, 0.8),
    row("fast, none", 0, 0.2, 0.7),
    row("fast", 1, 0.7, 0.9),
    row("fast, sequential", 1, 0.5, 0.8),
    row("fast, none", 1, 0.2, diverged="synthesis of round 3 diverged"),
]


def test_the_page_has_both_clocks_the_order_and_what_diverged(tmp_path: Path) -> None:
    text = page("glyphs", ROWS)
    assert "| fast | 60.0 ± 14.1 | 90.0 ± 0.0 |" in text
    assert "| fast, none | 20.0 ± 0.0 | 70.0 (1 of 2) |" in text
    assert "seed 1: synthesis of round 3 diverged" in text
    assert "* 10 s: 60.0, 55.0, 20.0: as in the paper" in text
    draw(ROWS, tmp_path / "methods.png", "glyphs")
    assert (tmp_path / "methods.png").stat().st_size > 10_000


def test_the_order_is_not_claimed_where_it_does_not_hold() -> None:
    rows = [
        row("fast", 0, 0.5),
        row("fast, sequential", 0, 0.6),
        row("fast, none", 0, 0.2),
    ]
    assert "* 10 s: 50.0, 60.0, 20.0: not as in the paper" in page("glyphs", rows)


def test_accuracy_between_two_readings() -> None:
    assert at_synthesis(ROWS[0], 7.5) == pytest.approx(0.7)
    assert at_synthesis(ROWS[0], 10) == pytest.approx(0.9)
    assert at_synthesis(ROWS[0], 4) is None
    assert at_synthesis(ROWS[0], 11) is None
