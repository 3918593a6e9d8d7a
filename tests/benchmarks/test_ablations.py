"""The rows of the table, of which those of trials have the recipe of the first."""

from __future__ import annotations

import json

import pytest

from benchmarks import methods
from benchmarks.ablations import TABLES, Table, page, students
from benchmarks.results import FOLDER
from benchmarks.student_rows import Student, figures_of
from benchmarks.timed_run import RunParts
from benchmarks.trials import FIRST, TRIALS, file_name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_committed_rows_are_those_of_the_students(table: Table) -> None:
    rows = json.loads((FOLDER / f"{table.stem}.json").read_text(encoding="utf-8"))
    facts = ("setting", "seed", "recipe", "trial")
    committed = {tuple(row.get(name) for name in facts) for row in rows}
    wanted = {
        tuple(each.facts.get(name) for name in facts)
        for each in students(3, [*table.changes], table)
    }
    assert wanted == committed


def test_a_trial_has_the_recipe_as_it_is_and_parts_of_its_own() -> None:
    plain, *tried = students(1, ["as it is", *FIRST], TABLES[1])
    assert [student.trial for student in tried] == list(FIRST)
    for student in tried:
        assert student.facts == {**plain.facts, "setting": student.setting, "trial": student.trial}
        assert TRIALS[student.trial] != RunParts()
    names = [file_name(student.trial) for student in (plain, *tried)]
    assert names[0] == ""
    assert len(set(names)) == len(names)


def test_a_trial_is_not_run_without_its_parts() -> None:
    with pytest.raises(AssertionError, match="only timed runs"):
        figures_of(Student("glyphs-best", "row", 0, {}, trial="a trial"))


def test_a_timed_row_of_a_trial_has_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    class Run:
        def __init__(self, experiment: object, parts: object):
            raise Stop(parts)

    monkeypatch.setattr(methods, "TimedRun", Run)
    monkeypatch.setattr(methods.Experiment, "of", lambda recipe, teacher: None)
    tried = [each for table in TABLES[1:] for each in students(1, ["as it is", *TRIALS], table)]
    for student in tried:
        with pytest.raises(Stop) as stopped:
            methods.timed_row(student, (1,), lambda student: (None, None, None))  # type: ignore[arg-type, return-value]
        expected = TRIALS[student.trial] if student.trial else None
        assert stopped.value.args == (expected,)


def test_the_page_says_by_which_command_its_rows_are_made() -> None:
    def row(label: str, accuracy: float) -> dict[str, object]:
        reading = {"accuracy": accuracy, "images": 64, "updates": 10, "synthesis_seconds": 30.0}
        return {"setting": label, "seed": 0, "accuracy": accuracy, "readings": [reading]}

    label = next(iter(TRIALS))
    with_trial = page([row("as it is", 0.9), row(label, 0.95)], TABLES[1])
    assert f"| {label} | 95.0 | +5.0 |" in with_trial
    assert "benchmarks.ablations --trials --seeds 1`" in with_trial
    assert "--trials" not in page([row("as it is", 0.9)])
    assert with_trial.startswith("# glyphs-best, with `adv: 16`, and one thing changed\n")
    assert page([row("as it is", 0.9)], TABLES[2]).startswith(
        "# glyphs-best, and one thing changed\n"
    )
