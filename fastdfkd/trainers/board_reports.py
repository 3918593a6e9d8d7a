"""What the leader of the student's workers tells the weight board.

Rows and notes are sent and forgotten. Students, states and the outcome must arrive: they are sent
again while the board does not answer, because it may be restarting (`trainers/calls.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from fastdfkd.trainers.calls import call_until_answered
from fastdfkd.trainers.weights import to_arrays

BOARD = "the weight board"


class BoardReports:
    """Sends one run's news to its weight board, an actor."""

    def __init__(self, board: Any):
        self.board = board
        self._noted: set[str] = set()
        """Notes that the driver has."""
        self._shown: tuple[Any, int] | None = None
        """The student that was published last, with its number of updates."""

    def post(self, row: Mapping[str, float]) -> None:
        """Send a progress row."""
        self.board.post.remote(row)

    def note(self, notes: Sequence[str]) -> None:
        """Send those of all notes so far that the driver does not have."""
        if new := [note for note in dict.fromkeys(notes) if note not in self._noted]:
            self.board.note.remote(new)
        self._noted.update(new)

    def publish(self, student: Mapping[str, Tensor], updates: int) -> None:
        """Publish a student after its number of updates."""
        self._shown = to_arrays(student), updates
        self.publish_again()

    def publish_again(self) -> None:
        """Publish the newest student once more, if there is one: a restarted board has none."""
        if self._shown is not None:
            shown = self._shown
            call_until_answered(lambda: self.board.publish.remote(*shown), BOARD)

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Hand over the state for a checkpoint.

        Args:
            state: makes it, anew for each try.
        """
        call_until_answered(lambda: self.board.save.remote(state()), BOARD)

    def complete(self, outcome: Mapping[str, Any]) -> None:
        """Hand over how the training ended: what the result is made from, or `diverged`."""
        call_until_answered(lambda: self.board.complete.remote(outcome), BOARD)
