"""What the run's times count, also after a restart."""

from __future__ import annotations

import time

import pytest

from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.monitor import times


def row(ended: float, waiting: float) -> dict[str, float]:
    """Of a trainer, with what `times` reads."""
    seconds = {"loading_seconds": 0.5, "waiting_seconds": waiting, "distillation_seconds": 30.0}
    return {**seconds, "ended": ended}


def test_nobody_waits_for_the_other_before_the_first_draw() -> None:
    totals = SynthesisTotals(started=100.0, trainer_began=90.0)
    figures = times(row(ended=160.0, waiting=12.0), totals)
    assert figures["trainer_idle_seconds"] == 2.0
    assert figures["end_to_end_seconds"] == 60.0


def test_a_resumed_run_goes_on_counting() -> None:
    """Sixty seconds with a start of ten, and five of evaluation; a minute later it goes on."""
    before = SynthesisTotals(started=100.0, trainer_began=90.0)
    saved = before.state([], elapsed=60.0)
    totals = SynthesisTotals.load(saved, evaluation_seconds=5.0)
    ended = time.time() + 20 - 5.0  # twenty seconds on, less all evaluation
    figures = times(row(ended, waiting=13.0), totals)
    assert figures["trainer_idle_seconds"] == pytest.approx(3.0)
    assert figures["end_to_end_seconds"] == pytest.approx(80.0, abs=1)
