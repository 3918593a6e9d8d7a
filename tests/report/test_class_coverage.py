"""Which classes synthetic images are of, as a run's page shows it."""

from __future__ import annotations

from fastdfkd.report.class_coverage import MOST_ROWS, coverage_line, coverage_rows


def test_the_line_counts_classes_and_compares_with_an_even_share() -> None:
    line = coverage_line([30, 0, 10, 0])
    assert "to 2 of 4 classes" in line
    assert "rarest class has 0.00 of its even share, the commonest 3.00" in line
    assert coverage_line([]) == coverage_line([0, 0]) == ""


def test_all_classes_are_in_the_table_the_rarest_first() -> None:
    rows = coverage_rows([30, 0, 10], ["cat", "dog", "hen"])
    assert rows == [("dog", "0", "0.00%"), ("hen", "10", "25.00%"), ("cat", "30", "75.00%")]


def test_of_many_classes_both_ends_are_shown() -> None:
    rows = coverage_rows(list(range(1000)), [f"c{n}" for n in range(1000)])
    assert len(rows) == MOST_ROWS
    assert rows[0][0] == "c0"
    assert [row[0] for row in rows[MOST_ROWS // 2 :]] == [f"c{n}" for n in range(980, 1000)]
