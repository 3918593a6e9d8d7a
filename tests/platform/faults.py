"""Kills processes of a run while it goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil

from fastdfkd.recipe import Recipe
from fastdfkd.runs.result import RunResult
from tests.platform.conftest import Rows, tiny


class CallsAfterRows(Rows):
    """A recorder that calls an action after so many rows."""

    def __init__(self, actions: dict[int, Callable[[], None]]) -> None:
        super().__init__()
        self.actions = actions

    def log(self, row: dict[str, float]) -> None:
        super().log(row)
        if action := self.actions.get(len(self.rows)):
            action()


class KillsAfterRows(CallsAfterRows):
    """A recorder that kills actors after so many rows."""

    def __init__(self, actors: dict[int, str]) -> None:
        super().__init__({rows: lambda actor=actor: kill(actor) for rows, actor in actors.items()})


def kill(actor: str, most: int | None = None) -> None:
    """Send SIGKILL to this test's processes of an actor class, or of one of its methods.

    Args:
        actor: the class.
        most: how many to kill; None: all.
    """
    killed = 0
    for child in psutil.Process().children(recursive=True):
        try:
            if f"ray::{actor}" in " ".join(child.cmdline()) and killed != most:
                child.send_signal(signal.SIGKILL)
                killed += 1
        except psutil.Error:  # the process has ended
            continue


def long_recipe(build: Callable[..., Recipe] = tiny, **overrides: object) -> Recipe:
    """A recipe whose run is long enough to be disturbed in the middle."""
    long = {
        "synthesis__rounds": 24,
        "synthesis__warmup_rounds": 2,
        "distillation__updates_per_round": 4,
        "platform__checkpoint_every": 4,
    }
    return build(**{**long, **overrides})


def check_complete(result: RunResult, recipe: Recipe) -> None:
    assert result.updates == recipe.updates
    assert result.images == recipe.synthesis.rounds * recipe.synthesis.batch_size
