from __future__ import annotations

from collections.abc import Callable

import pytest

from fastdfkd.report.table import build_table, render_markdown, seconds, times
from fastdfkd.runs.result import RunResult


@pytest.fixture
def runs(make_result: Callable[..., RunResult]) -> dict[str, RunResult]:
    return {
        "deep-inversion": make_result(
            images=64, synthesis_seconds=128, synthesis_speedup=1, end_to_end_speedup=0.98
        ),
        "fast-5": make_result(
            images=7680, synthesis_seconds=49.152, synthesis_speedup=312.5, end_to_end_speedup=45.6
        ),
        "alone": make_result(images=7680, synthesis_seconds=7.68),
    }


def test_the_table_has_a_row_for_the_teacher_and_each_run(runs: dict[str, RunResult]) -> None:
    table = build_table(runs)
    assert list(table["setting"]) == ["teacher", "deep-inversion", "fast-5", "alone"]
    assert list(table["accuracy"]) == [0.998, 0.97, 0.97, 0.97]
    assert table["synthesis_seconds_per_image"][2] == pytest.approx(0.0064)
    assert table["agreement"].isna().tolist() == [True, False, False, False]
    assert table["synthesis_speedup"].isna().tolist() == [True, False, False, True]


def test_markdown(runs: dict[str, RunResult]) -> None:
    lines = render_markdown(build_table(runs), "On 64 images.").splitlines()
    assert lines[0] == (
        "| setting | accuracy | agreement | images | synthesis / image | synthesis speed-up "
        "| end to end | end-to-end speed-up |"
    )
    assert lines[1].count("---:") == 7
    assert lines[2] == "| teacher | 99.8 % | - | - | - | - | - | - |"
    assert lines[3] == "| deep-inversion | 97.0 % | 96.8 % | 64 | 2.00 s | 1.0x | 8.0 s | 0.98x |"
    assert lines[4] == "| fast-5 | 97.0 % | 96.8 % | 7,680 | 6.4 ms | 312x | 8.0 s | 46x |"
    assert lines[5].endswith("| 1 ms | - | 8.0 s | - |")
    assert lines[-1] == "On 64 images."


def test_runs_of_different_teachers_are_refused(make_result: Callable[..., RunResult]) -> None:
    runs = {"a": make_result(teacher_accuracy=0.9), "b": make_result(teacher_accuracy=0.8)}
    with pytest.raises(ValueError, match=r"one teacher, got accuracies \[0.8, 0.9\]"):
        build_table(runs)


def test_seconds_and_speedups_are_formatted() -> None:
    assert [seconds(x) for x in (0.00064, 0.0064, 0.716, 1.984)] == [
        "640 µs",
        "6.4 ms",
        "716 ms",
        "1.98 s",
    ]
    assert [times(x) for x in (0.944, 1, 2.66, 9.94, 136.4)] == [
        "0.94x",
        "1.0x",
        "2.7x",
        "9.9x",
        "136x",
    ]
