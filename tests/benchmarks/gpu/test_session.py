"""Parts run in order, within the budget, and what was written stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.session import Budget, BudgetSpentError, Look, Part, run_parts


def look(out: Path, budget: Budget) -> Look:
    return Look(device=torch.device("cpu"), budget=budget, out=out, pair="")


def part(name: str, run: Callable[[Look], str], least_s: float = 0.0, missing: str = "") -> Part:
    return Part(name=name, run=run, least_s=least_s, missing=lambda _: missing)


def test_parts_run_in_order_and_one_that_fails_does_not_hide_the_others(tmp_path: Path) -> None:
    def fails(_: Look) -> str:
        raise RuntimeError("out of memory\nlong")

    def writes(look: Look) -> str:
        look.write("second", {"rows": [1]}, "a table")
        return "good"

    parts = [part("first", fails), part("second", writes), part("third", writes, missing="no Ray")]
    found = run_parts(look(tmp_path / "out", Budget(60)), parts)
    assert [each["outcome"] for each in found] == [
        "failed: RuntimeError: out of memory",
        "good",
        "not measured: no Ray",
    ]
    assert (tmp_path / "out" / "second.md").read_text() == "a table\n"
    assert json.loads((tmp_path / "out" / "second.json").read_text()) == {"rows": [1]}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["parts"] == found
    assert "| third | 0.0 | not measured: no Ray |" in (tmp_path / "out" / "summary.md").read_text()


def test_a_part_without_enough_time_is_left_out_and_a_shorter_one_still_runs(
    tmp_path: Path,
) -> None:
    now = 0.0
    budget = Budget(100, lambda: now)

    def takes(_: Look) -> str:
        nonlocal now
        now += 70
        return "done"

    parts = [part("a", takes), part("b", takes, least_s=40), part("c", takes, least_s=20)]
    outcomes = [each["outcome"] for each in run_parts(look(tmp_path, budget), parts)]
    assert outcomes == ["done", "not measured: 30 s left, it needs 40", "done"]
    assert budget.left == -40


def test_an_alarm_ends_a_part_and_what_it_wrote_stays(tmp_path: Path) -> None:
    def endless(look: Look) -> str:
        look.write("rows", {"rows": [1, 2]}, "two rows")
        while True:
            time.sleep(0.01)

    began = time.monotonic()
    parts = [part("endless", endless), part("next", lambda _: "never", least_s=0.1)]
    found = run_parts(look(tmp_path, Budget(0.3)), parts)
    assert time.monotonic() - began < 5
    assert "the budget ended it" in found[0]["outcome"]
    assert "not measured" in found[1]["outcome"]
    assert json.loads((tmp_path / "rows.json").read_text()) == {"rows": [1, 2]}


def test_the_alarm_is_off_afterwards() -> None:
    with Budget(0.2).enforced():
        pass
    time.sleep(0.3)
    with pytest.raises(BudgetSpentError), Budget(-1).enforced():
        time.sleep(1)
