"""A fixed list of trials as a Ray Tune `Searcher`, which starts none after a given time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher


class ListSearcher(Searcher):
    """Suggests the trials of a list in order, as `{"trial": ...}`."""

    def __init__(self, trials: Sequence[dict[str, Any]], deadline: float | None = None) -> None:
        """Keep the list.

        Args:
            trials: what `plan.remaining` returns.
            deadline: time of `time.monotonic` after which no trial is suggested; None: never.
        """
        super().__init__()
        self._trials, self._deadline = list(trials), deadline

    def suggest(self, trial_id: str) -> Any:
        """The next trial; `Searcher.FINISHED` after the last one, or after the deadline."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late or not self._trials:
            return str(Searcher.FINISHED)
        return {"trial": self._trials.pop(0)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: no suggestion depends on a result."""

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: a sweep is resumed from its trial log."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing, see `save`."""
