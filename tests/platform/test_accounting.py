"""What the run's times include, also after a resume."""

from __future__ import annotations

import time

import pytest

from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.monitor import times


def row(ended: float, waiting: float) -> dict[str, float]:
    """A trainer's row with the fields that `times` reads."""
    seconds = {"loading_seconds": 0.5, "waiting_seconds": waiting, "distillation_seconds": 30.0}
    return {**seconds, "ended": ended}


def test_waiting_before_the_first_synthesis_is_not_idle_time() -> None:
    totals = SynthesisTotals(started=100.0, trainer_began=90.0)
    figures = times(row(ended=160.0, waiting=12.0), totals)
    assert figures["trainer_idle_seconds"] == 2.0
    assert figures["end_to_end_seconds"] == 60.0


def test_a_resumed_run_continues_its_times() -> None:
    """60 s before the checkpoint, after 10 s of start-up and without 5 s of evaluation."""
    before = SynthesisTotals(started=100.0, trainer_began=90.0)
    saved = before.state([], elapsed=60.0)
    totals = SynthesisTotals.load(saved, evaluation_seconds=5.0)
    ended = time.time() + 20 - 5.0  # 20 s later; a trainer's times leave evaluation out
    figures = times(row(ended, waiting=13.0), totals)
    assert figures["trainer_idle_seconds"] == pytest.approx(3.0)
    assert figures["end_to_end_seconds"] == pytest.approx(80.0, abs=1)
