from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.report.progress import EpochProgress, RunProgress

ROW = {"images": 4, "updates": 5, "updates_per_second": 12.5, "accuracy": 0.75}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Replace stderr. Not a fixture: pytest replaces stderr between a fixture and its test."""
    screen = Terminal()
    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stderr", screen)
        yield screen


def test_a_terminal_shows_counts_and_rates(
    monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Recipe]
) -> None:
    with terminal(monkeypatch) as screen, RunProgress(tiny_recipe(), "fast-5") as bar:
        bar(ROW)
    output = screen.getvalue()
    for words in ("fast-5: images", "4/8", "5/10", "12.5 updates/s", "accuracy 75.0%"):
        assert words in output


def test_without_a_student_there_is_one_bar(
    monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Recipe]
) -> None:
    with (
        terminal(monkeypatch) as screen,
        RunProgress(tiny_recipe(), "images", images_only=True) as bar,
    ):
        bar(ROW)
    assert "4/8" in screen.getvalue()
    assert "updates" not in screen.getvalue()


def test_without_a_terminal_nothing_is_printed(
    capsys: pytest.CaptureFixture[str], tiny_recipe: Callable[..., Recipe]
) -> None:
    with RunProgress(tiny_recipe(), "fast-5") as bar:
        bar(ROW)
    with EpochProgress("teacher", 3) as epochs:
        epochs.update(1)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_is_logged_every_ten_seconds(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tiny_recipe: Callable[..., Recipe],
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, "fastdfkd"), RunProgress(tiny_recipe(), "fast-5") as bar:
        for now[0] in (1.0, 9.0, 11.0, 12.0):
            bar(ROW)
    assert caplog.messages == ["fast-5: 4 of 8 images, 5 of 10 updates"]


def test_a_cached_teacher_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as screen, EpochProgress("teacher", 3):
        pass
    assert screen.getvalue() == ""


def test_epochs_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as screen, EpochProgress("teacher", 3) as epochs:
        epochs.update(2, "loss 0.500")
    assert "2/3" in screen.getvalue()
    assert "loss 0.500" in screen.getvalue()
