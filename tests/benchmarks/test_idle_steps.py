"""The runs of `benchmarks/idle_steps.py` and its page."""

from __future__ import annotations

from benchmarks.idle_steps import FIGURES, SETTINGS, page, students


def test_a_seed_is_run_without_and_with_the_key() -> None:
    found = [(each.seed, each.recipe.platform.use_idle) for each in students(2)]
    assert found == [(0, False), (0, True), (1, False), (1, True)]
    assert len({each.recipe.digest() for each in students(2)}) == 4
    assert {each.recipe.synthesis.rounds for each in students(1)} == {30}


def row(setting: str, seed: int, accuracy: float) -> dict[str, object]:
    rest = dict.fromkeys(FIGURES, 2.0)
    return {**rest, "setting": setting, "seed": seed, "accuracy": accuracy, "idle": 0.625}


def test_the_page_has_the_difference_by_seed() -> None:
    without, used = SETTINGS
    rows = [row(without, 0, 0.90), row(used, 0, 0.93), row(without, 1, 0.92), row(used, 1, 0.93)]
    text = page(rows)
    assert "`python -m benchmarks.idle_steps --seeds 2`; seeds 0, 1;" in text
    assert "| waiting | 91.0 ± 1.4 |" in text
    assert "| 62 ± 0 |" in text
    assert "by seed: +2.0 ± 1.0 (standard error) points" in text
    assert page(rows[:1]).rstrip().endswith("No seed has both settings.")
