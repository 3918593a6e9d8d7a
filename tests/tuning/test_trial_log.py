from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.tuning.plan import remaining
from fastdfkd.tuning.sweep import interrupted_sweep, new_sweep
from fastdfkd.tuning.sweep_report import trial_table
from fastdfkd.tuning.trial_log import TrialLog, TrialRecord
from tests.strangers.damages import WHOLE


def record(index: int, status: Any = "finished", **changes: Any) -> TrialRecord:
    point = {"synthesis.steps": 2, "synthesis.meta_lr": None}
    return TrialRecord(index=index, seed=0, point=point, status=status, **changes)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    trial_log = TrialLog(tmp_path)
    assert trial_log.records() == []
    kept = [record(0, figures={"accuracy": 0.5}), record(1, "failed", error="ValueError: no")]
    for one in kept:
        trial_log.append(one)
    assert trial_log.records() == kept
    assert trial_log.done() == kept[:1], "a failed trial runs again"
    trial_log.append(record(1, "stopped"))
    assert [one.status for one in trial_log.records()] == ["finished", "stopped"]


def test_an_incomplete_last_line_is_skipped_and_repaired(tmp_path: Path) -> None:
    trial_log, path = TrialLog(tmp_path), tmp_path / "trials.jsonl"
    trial_log.append(record(0))
    with path.open("a") as file:
        file.write('{"index": 1, "se')
    assert [one.index for one in trial_log.records()] == [0]
    trial_log.repair()
    trial_log.append(record(1))
    assert [one.index for one in trial_log.records()] == [0, 1]
    path.write_text("{damaged}\n" + path.read_text())
    with pytest.raises(ValueError, match="line 1: damaged"):
        trial_log.records()


def test_options_are_read_as_they_were_written(tmp_path: Path, options: Callable[..., Any]) -> None:
    trial_log = TrialLog(tmp_path)
    with pytest.raises(ValueError, match="holds no sweep"):
        trial_log.options()
    trial_log.save_options(options(trials=3))
    assert trial_log.options() == options(trials=3)
    (tmp_path / "sweep.json").write_text('{"serach": "grid"}')
    with pytest.raises(ValueError, match="damaged"):
        trial_log.options()


def test_a_sweep_with_old_folder_names_can_be_resumed(
    tmp_path: Path, small: Recipe, space_file: Callable[[str], Path], options: Callable[..., Any]
) -> None:
    space = space_file("synthesis.steps: {choice: [1, 2]}")
    with new_sweep(small, space, (), options(), tmp_path / "out") as sweep:
        pass
    line = {"index": 0, "seed": 0, "point": {"synthesis.steps": 1}, "status": "finished"}
    line |= {"figures": {"accuracy": 0.5}, "evaluations": 1, "error": ""}
    line |= {"directory": str(tmp_path / "out" / "trials" / "p000-seed0")}
    (tmp_path / "out" / "trials.jsonl").write_text(json.dumps(line) + "\n")
    with interrupted_sweep(tmp_path / "out") as again:
        pass
    done = TrialLog(again.folder).done()
    assert [one.index for one in done] == [0]
    assert [trial["index"] for trial in remaining(again, done)] == [1]
    assert trial_table(sweep, done)["trial"].tolist() == ["steps=1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 10_000 + "]" * 10_000, "recursion"),
        ("[1]", ""),
        ('{"index": -1, "seed": 0, "point": {}, "status": "finished"}', "index"),
        ('{"index": 0, "seed": "x", "point": {}, "status": "finished"}', "seed"),
        ('{"index": 0, "seed": 0, "point": {}, "status": "eaten"}', "status"),
        ("\0" * 40, ""),
    ],
)
def test_a_damaged_line_is_an_error_but_a_damaged_last_line_is_removed(
    tmp_path: Path, line: str, message: str
) -> None:
    trial_log, path = TrialLog(tmp_path), tmp_path / "trials.jsonl"
    trial_log.append(record(0))
    whole = path.read_bytes()
    path.write_bytes(whole + line.encode() + b"\n")
    assert [one.index for one in trial_log.records()] == [0]
    trial_log.repair()
    assert path.read_bytes() == whole
    path.write_bytes(line.encode() + b"\n" + whole)
    with pytest.raises(ValueError, match=rf"trials\.jsonl, line 1: damaged .*{message}"):
        trial_log.records()
    trial_log.repair()
    assert path.read_bytes() == line.encode() + b"\n" + whole, "only a last line is removed"


@pytest.mark.parametrize("damage", sorted(set(WHOLE) - {"flipped in the middle"}))
def test_damaged_options_give_an_error_with_the_file_name(
    tmp_path: Path, options: Callable[..., Any], damage: str
) -> None:
    trial_log, path = TrialLog(tmp_path), tmp_path / "sweep.json"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept.txt").write_text("kept")
    trial_log.save_options(options())
    WHOLE[damage](path, tmp_path / "outside")
    if damage in ("whole, behind a link", "carriage returns", "unreadable", "last byte gone"):
        assert trial_log.options() == options(), "the tests may run as root, who can read it"
    else:
        with pytest.raises((ValueError, OSError), match=r"sweep\.json") as raised:
            trial_log.options()
        assert len(str(raised.value)) < 1_000
