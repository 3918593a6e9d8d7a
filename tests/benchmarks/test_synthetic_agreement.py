"""The rank correlation, and what the choice by a figure loses, of rows that are known."""

from __future__ import annotations

import pytest

from benchmarks.synthetic_agreement import good, page, regret, spearman
from fastdfkd.runs.figures import SYNTHETIC

ROWS = [
    {"setting": label, "seed": seed, "accuracy": accuracy, "good": good, "synthetic_kl": kl}
    for seed in (0, 1)
    for label, accuracy, good, kl in [("a", 0.9, 0.5, 3), ("b", 0.7, 0.6, 1), ("c", 0.2, 0.1, 2)]
]


def test_rank_correlation_counts_a_low_divergence_as_good() -> None:
    assert spearman(ROWS, "good")["means"] == pytest.approx(0.5)
    assert spearman(ROWS, "synthetic_kl")["seed 1"] == pytest.approx(-0.5)


def test_the_accuracy_that_the_choice_by_a_figure_loses() -> None:
    assert regret(ROWS, "good") == pytest.approx(0.2)
    assert regret(ROWS, "accuracy") == 0.0


def test_settings_near_the_best() -> None:
    near = [*ROWS, {"setting": "d", "seed": 0, "accuracy": 0.81}]
    assert {row["setting"] for row in good(near)} == {"a", "d"}


def test_the_page_shows_a_setting_that_diverged_and_does_not_rank_it() -> None:
    rows = [{**dict.fromkeys(SYNTHETIC, row["good"]), **row} for row in ROWS]
    rows.append({"setting": "high rate", "seed": 0, "diverged": "synthesis of round 3 diverged"})
    text = page("digits", rows)
    assert "Students of high rate diverged" in text
    assert "| high rate | diverged | diverged |" in text
    assert "| agreement on synthetic images | 0.50 | 0.50 | 0.50 |" in text
