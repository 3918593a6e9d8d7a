"""How many updates the workers make that train one student together."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fastdfkd.trainers.bank_loader import BankClosed
from fastdfkd.trainers.board_reports import BoardReports
from fastdfkd.trainers.student import StudentTraining


def training(answer: int | BankClosed, of_others: int) -> Any:
    """A worker at its third update, with the bank's answer and what the others are allowed."""

    def advance(done: int, still_waiting: Callable[[], object]) -> int:
        assert done == 3
        if isinstance(answer, BankClosed):
            raise answer
        return answer

    made = StudentTraining.__new__(StudentTraining)
    made.loader = SimpleNamespace(advance=advance)  # type: ignore[assignment]
    made.reports = BoardReports(board=None)
    workers = SimpleNamespace(least=lambda mine: min(mine, of_others))
    made.distiller = SimpleNamespace(workers=workers)  # type: ignore[assignment]
    return made


def test_all_make_the_fewest_updates_that_one_is_allowed() -> None:
    assert training(8, of_others=5)._allowed(3) == 5
    assert training(5, of_others=8)._allowed(3) == 5


def test_the_end_of_the_run_is_the_end_for_all() -> None:
    with pytest.raises(BankClosed, match="another worker"):
        training(8, of_others=3)._allowed(3)
    with pytest.raises(BankClosed, match="it diverged"):
        training(BankClosed("it diverged"), of_others=8)._allowed(3)
