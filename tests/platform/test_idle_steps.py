"""`platform.use_idle`: how many steps a batch gets, and a run whose student sets the pace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdfkd.platform import pipeline
from fastdfkd.platform.idle_steps import MOST, IdleSteps
from fastdfkd.recipe import RecipeError, load_recipe
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny


def paced(steps: IdleSteps, student_seconds: float, batches: int = 30) -> list[int]:
    """Steps of each batch if the student takes a round every so many seconds, a step 0.1 s."""
    found = []
    for _ in range(batches):
        found.append(steps.steps)
        working = steps.steps * 0.1
        steps.saw(working, max(student_seconds - working, 0.0))
    return found


def test_a_wait_is_filled_and_a_rest_is_left() -> None:
    found = paced(IdleSteps(5), 3.0)
    assert found[0] == 5
    assert found[-1] == pytest.approx(0.8 * 30, abs=1)


def test_there_is_a_limit() -> None:
    assert paced(IdleSteps(5), 100.0)[-1] == 5 * MOST


def test_a_synthesizer_that_never_waits_keeps_the_recipes_steps() -> None:
    assert set(paced(IdleSteps(5), 0.1)) == {5}


def test_steps_become_fewer_when_the_student_becomes_faster() -> None:
    steps = IdleSteps(5)
    assert paced(steps, 3.0)[-1] > 20
    assert paced(steps, 0.5, 60)[-1] == 5


@pytest.mark.parametrize(
    ("base", "schedule", "message"),
    [
        ("digits-fast5", "lockstep", "use_idle needs platform.schedule async"),
        ("digits-dfad", "async", "dfad has none"),
    ],
)
def test_where_steps_cannot_vary_it_is_refused(base: str, schedule: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(base, {"platform.use_idle": True, "platform.schedule": schedule})


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster", "one_thread")
def test_a_run_with_it_counts_and_reports_its_steps(teacher: Teacher, tmp_path: Path) -> None:
    """How many there are depends on the machine."""
    rows = Rows()
    result = pipeline.run(tiny(platform__use_idle=True), teacher, tmp_path, rows)
    steps = [row["synthesis_steps"] for row in rows.rows if "synthesis_steps" in row]
    assert steps
    assert all(2 <= each <= 2 * MOST for each in steps)
    (note,) = [note for note in result.notes if "use_idle" in note]
    assert "batches had 2 to" in note
    assert (result.images, result.updates) == (7 * 16, 5 * 3)
