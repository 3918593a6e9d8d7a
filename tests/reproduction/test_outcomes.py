from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdfkd.reproduction.layout import caption, facts, heads_and_rows
from fastdfkd.reproduction.outcomes import outcomes, speed_up
from fastdfkd.reproduction.request import TableRun, new_table
from fastdfkd.tuning.trial_log import TrialLog, TrialRecord


@pytest.fixture
def run(workplace: Path) -> TableRun:
    rows = ["deep-inversion", "dafl", "fast5", "fast2"]
    with new_table("digits", rows=rows, seeds=2, out="out") as table:
        return table


def record(run: TableRun, recipe: str, seed: int, **changes: Any) -> None:
    (folder,) = run.groups
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"accuracy": 0.9, "synthesis_seconds": 36.0, "end_to_end_seconds": 72.0}
    values: dict[str, Any] = {"status": "finished", "figures": figures, **changes}
    index = list(run.recipes).index(recipe)
    TrialLog(folder).append(TrialRecord(index=index, seed=seed, point={"recipe": recipe}, **values))


def test_a_cell_has_the_mean_of_its_seeds_or_what_is_missing(run: TableRun) -> None:
    record(run, "digits-fast5", 0)
    better = {"accuracy": 0.94, "synthesis_seconds": 72.0, "end_to_end_seconds": 72.0}
    record(run, "digits-fast5", 1, figures=better)
    record(run, "digits-fast2", 0)
    record(run, "digits-fast2", 1, status="failed", error="DivergedError: NaN", figures={})
    reference = {"accuracy": 0.8, "synthesis_seconds": 540.0, "end_to_end_seconds": 600.0}
    for seed in (0, 1):
        record(run, "digits-deep-inversion", seed, figures=reference)
    found = {o.cell.row: o for o in outcomes(run, {"digits-dafl": "the budget is spent"})}
    fast5, fast2, dafl = found["fast5"], found["fast2"], found["dafl"]
    assert fast5.accuracy == pytest.approx(92.0)
    assert fast5.deviation == pytest.approx(2.828, abs=1e-3)
    assert fast5.mean_hours == pytest.approx(0.015)
    assert fast5.missing == ""
    assert (fast2.accuracy, fast2.deviation) == (pytest.approx(90.0), None)
    assert fast2.missing == "1 of 2 seeds: DivergedError: NaN"
    assert (dafl.accuracy, dafl.missing) == (None, "the budget is spent")
    assert speed_up([fast5], [found["deep-inversion"]]) == pytest.approx(10.0)
    assert speed_up([dafl], [found["deep-inversion"]]) is None


def test_a_cell_that_failed_and_then_finished_is_measured(run: TableRun) -> None:
    record(run, "digits-dafl", 0, status="failed", error="OSError: disk", figures={})
    for seed in (0, 1):
        record(run, "digits-dafl", seed)
    found = {o.cell.row: o for o in outcomes(run, {})}
    assert found["dafl"].accuracies == (90.0, 90.0)
    assert found["dafl"].missing == ""
    assert found["fast5"].missing == "not run yet"


def test_a_table_of_maps_has_the_mean_iou(workplace: Path) -> None:
    with new_table("nyuv2", rows=["fast10"], seeds=1, out="maps") as run:
        seconds = {"synthesis_seconds": 36.0, "end_to_end_seconds": 72.0}
        figures = {"mean_iou": 0.3, "pixel_accuracy": 0.9, **seconds}
        folder = workplace / "trial"
        folder.mkdir()
        (folder / "teacher.json").write_text('{"accuracy": null, "mean_iou": 0.5}')
        record(run, "nyuv2-fast10", 0, figures=figures, directory=str(folder))
        (outcome,) = outcomes(run, {})
        assert (outcome.accuracy, outcome.teacher_accuracy) == (pytest.approx(30.0), 50.0)
        assert outcome.missing == ""
        heads, rows = heads_and_rows(run, [outcome])
        assert heads == ["method", "DeepLabV3 ResNet-50 to DeepLabV3 MobileNetV2"]
        assert ["Fast-10, measured", "30.00 (0.01)"] in rows
        assert caption(run.table).startswith("Cells: mIoU in %")
        assert facts(run, [outcome])["figure"] == "mean_iou"
