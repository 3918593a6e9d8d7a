from __future__ import annotations

import time

import pytest
from ray.tune.search import Searcher

from fastdfkd.tuning.list_search import ListSearcher

TRIALS = [{"index": number, "seed": 0, "point": {}} for number in range(3)]


def test_trials_come_in_order_each_once() -> None:
    searcher = ListSearcher(TRIALS)
    assert [searcher.suggest(str(number)) for number in range(4)] == [
        *({"trial": trial} for trial in TRIALS),
        Searcher.FINISHED,
    ]


def test_no_trial_is_started_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    searcher = ListSearcher(TRIALS, deadline=110.0)
    assert searcher.suggest("a") == {"trial": TRIALS[0]}
    now = 110.0
    assert searcher.suggest("b") == Searcher.FINISHED
