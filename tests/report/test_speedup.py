from __future__ import annotations

from collections.abc import Callable

import pytest

from fastdfkd.report.speedup import started_note, with_speedups
from fastdfkd.runs.result import RunResult

MakeResult = Callable[..., RunResult]


def test_the_reference_is_extrapolated_to_the_runs_images_and_updates(
    make_result: MakeResult,
) -> None:
    reference = make_result(
        images=10, updates=100, synthesis_seconds=20, storage_seconds=1, distillation_seconds=5
    )
    run = make_result(images=200, updates=300, synthesis_seconds=4, end_to_end_seconds=15)
    result = with_speedups(reference, run)
    assert result.synthesis_speedup == pytest.approx(2.0 * 200 / 4)
    assert result.end_to_end_speedup == pytest.approx((2.1 * 200 + 0.05 * 300) / 15)
    assert (
        result.model_copy(update={"synthesis_speedup": None, "end_to_end_speedup": None})
        == run.model_copy()
    )


def test_the_reference_is_the_1x(make_result: MakeResult) -> None:
    reference = make_result(
        synthesis_seconds=2, storage_seconds=0.5, distillation_seconds=5, end_to_end_seconds=8
    )
    result = with_speedups(reference, reference)
    assert result.synthesis_speedup == 1
    assert result.end_to_end_speedup == pytest.approx(7.5 / 8)


def test_images_from_the_start_count_with_their_cost(make_result: MakeResult) -> None:
    reference = make_result(
        images=10, updates=100, synthesis_seconds=20, storage_seconds=1, distillation_seconds=5
    )
    run = make_result(
        images=200,
        updates=300,
        synthesis_seconds=4,
        end_to_end_seconds=15,
        started_images=100,
        started_synthesis_seconds=6.0,
    )
    result = with_speedups(reference, run)
    assert result.synthesis_speedup == pytest.approx(2.0 * 300 / 10)
    assert result.end_to_end_speedup == pytest.approx((2 * 300 + 0.1 * 200 + 0.05 * 300) / 21)
    unknown = run.model_copy(update={"started_synthesis_seconds": None})
    assert "started with 100 images" in started_note(run)
    assert "6.0 s" in started_note(run)
    assert "not known" in started_note(unknown)
    assert started_note(reference) == ""
    alone = run.model_copy(update={"started_images": 0, "started_synthesis_seconds": None})
    for name in ("synthesis_speedup", "end_to_end_speedup"):
        assert getattr(with_speedups(reference, unknown), name) == getattr(
            with_speedups(reference, alone), name
        )


@pytest.mark.parametrize("name", ["images", "updates", "synthesis_seconds", "end_to_end_seconds"])
def test_runs_without_figures_cannot_be_compared(make_result: MakeResult, name: str) -> None:
    with pytest.raises(ValueError, match=rf"the run \(tiny\) has no {name}"):
        with_speedups(make_result(), make_result(**{name: 0}))
    with pytest.raises(ValueError, match=rf"the reference \(tiny\) has no {name}"):
        with_speedups(make_result(**{name: 0}), make_result())
