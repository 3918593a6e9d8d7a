"""What the leader of the workers tells the weight board, and how often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fastdfkd.trainers import board_reports
from fastdfkd.trainers.board_reports import BoardReports


class Board:
    """Keeps the calls of an actor's methods."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *args: self.calls.append((name, args)))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board that answers a call that must arrive at the second try."""

    def twice(ask: Any, who: str) -> None:
        assert who == "the weight board"
        ask()
        ask()

    monkeypatch.setattr(board_reports, "call_until_answered", twice)
    return Board()


def test_a_note_is_sent_once(board: Board) -> None:
    reports, notes = BoardReports(board), ["a"]
    reports.note(notes)
    reports.note(notes)
    reports.note(["b", *notes, "c"])
    assert board.calls == [("note", (["a"],)), ("note", (["b", "c"],))]


def test_the_newest_student_can_be_published_again(board: Board) -> None:
    reports = BoardReports(board)
    reports.publish_again()
    assert board.calls == [], "there is none yet"
    for updates in (3, 6):
        reports.publish({"weight": torch.full((2,), float(updates))}, updates)
    reports.publish_again()
    sent = [(name, updates, state["weight"].tolist()) for name, (state, updates) in board.calls]
    assert sent == [("publish", n, [n, n]) for n in (3, 3, 6, 6, 6, 6)]


def test_a_state_is_made_for_each_try(board: Board) -> None:
    states = iter([{"ended": 1}, {"ended": 2}])
    BoardReports(board).save(lambda: next(states))
    assert board.calls == [("save", ({"ended": 1},)), ("save", ({"ended": 2},))]
