from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.tuning.ledger import Ledger, TrialRecord


def record(index: int, status: Any = "finished", **changes: Any) -> TrialRecord:
    point = {"synthesis.steps": 2, "synthesis.meta_lr": None}
    return TrialRecord(index=index, seed=0, point=point, status=status, **changes)


def test_records_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.records() == []
    kept = [record(0, figures={"accuracy": 0.5}), record(1, "failed", error="ValueError: no")]
    for one in kept:
        ledger.append(one)
    assert ledger.records() == kept
    assert ledger.done() == kept[:1], "a failed trial is tried again"
    ledger.append(record(1, "stopped"))
    assert [one.status for one in ledger.records()] == ["finished", "stopped"]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    ledger, path = Ledger(tmp_path), tmp_path / "trials.jsonl"
    ledger.append(record(0))
    with path.open("a") as file:
        file.write('{"index": 1, "se')
    assert [one.index for one in ledger.records()] == [0]
    ledger.mend()
    ledger.append(record(1))
    assert [one.index for one in ledger.records()] == [0, 1]
    path.write_text("{damaged}\n" + path.read_text())
    with pytest.raises(ValueError, match="line 1: damaged"):
        ledger.records()


def test_options_come_back(tmp_path: Path, options: Callable[..., Any]) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(ValueError, match="holds no sweep"):
        ledger.options()
    ledger.save_options(options(trials=3))
    assert ledger.options() == options(trials=3)
    (tmp_path / "sweep.json").write_text('{"serach": "grid"}')
    with pytest.raises(ValueError, match="damaged"):
        ledger.options()
