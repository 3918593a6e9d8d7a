"""What the run's times include, also after a resume."""

from __future__ import annotations

import time

import pytest

from fastdfkd.core.batch_figures import BatchFigures
from fastdfkd.core.collapse import MOST_ROUNDS
from fastdfkd.platform.accounting import BatchRecord, SynthesisTotals
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


def test_a_checkpoint_keeps_the_figures_of_the_newest_rounds() -> None:
    def record(round: int) -> BatchRecord:
        figures = BatchFigures(confidence=0.5, classes={0: 3, 7: 1}, distinct=1.0)
        return BatchRecord(
            round=round,
            images=4,
            synthesis_seconds=1.0,
            storage_seconds=0.1,
            idle_seconds=0.0,
            staleness=0,
            losses={"loss": 2.0},
            figures=figures,
        )

    records = [record(round) for round in range(MOST_ROUNDS + 5)]
    totals = SynthesisTotals(records=records, started=100.0)
    saved = totals.state(range(MOST_ROUNDS + 3), elapsed=60.0)
    loaded = SynthesisTotals.load(saved, evaluation_seconds=0.0).records
    assert loaded[3:] == records[3:-2]
    assert [record.figures for record in loaded[:3]] == [None] * 3
    for old in saved["records"]:  # a checkpoint of the release before
        del old["figures"]
    assert {r.figures for r in SynthesisTotals.load(saved, 0.0).records} == {None}


def test_classes_are_counted_over_all_batches_and_checkpoints() -> None:
    def record(round: int) -> BatchRecord:
        figures = BatchFigures(confidence=1.0, classes={round % 3: 2, 7: 1}, distinct=1.0)
        return BatchRecord(
            round=round,
            images=3,
            synthesis_seconds=1.0,
            storage_seconds=0.0,
            idle_seconds=0.0,
            staleness=0,
            losses={},
            figures=figures,
        )

    rounds = MOST_ROUNDS + 6
    totals = SynthesisTotals(records=[record(round) for round in range(rounds)], started=0.0)
    expected = dict(totals.classes)
    assert expected[7] == rounds
    assert sum(expected.values()) == 3 * rounds
    loaded = SynthesisTotals.load(totals.state(range(rounds), elapsed=1.0), 0.0)
    assert loaded.classes == expected
    loaded.records += [record(round) for round in range(rounds, rounds + 5)]
    again = SynthesisTotals.load(loaded.state(range(rounds + 5), elapsed=2.0), 0.0)
    assert again.classes == loaded.classes
    assert sum(again.classes.values()) == 3 * (rounds + 5)


def test_a_round_that_a_checkpoint_lacks_is_counted_once() -> None:
    totals = SynthesisTotals()
    totals.count_gone({3, 4})
    again = SynthesisTotals.load(totals.state([], elapsed=1.0), evaluation_seconds=0.0)
    again.count_gone({4, 7})
    assert again.faults["lost"] == 3
    before = {**totals.state([], elapsed=1.0), "lost": 2}
    del before["gone"]  # of an earlier release
    old = SynthesisTotals.load(before, evaluation_seconds=0.0)
    old.count_gone(set())
    assert old.faults["lost"] == 2
