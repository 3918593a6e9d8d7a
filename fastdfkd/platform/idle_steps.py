"""More steps on each batch for a synthesizer that would wait for the student.

A synthesizer that is faster than the student waits: the limiter lets it be a few rounds ahead.
With `platform.use_idle` the wait becomes optimisation steps. The time from the start of one batch
to the start of the next, its period, is set by the student as long as there is a wait. The next
batch gets as many steps as fit into a share of it. The rest of the wait shows that the student
still sets the pace; if it is gone, the steps become fewer again.
"""

from __future__ import annotations

MOST = 10
"""A batch has at most so many times the recipe's steps."""
_SHARE = 0.8
"""Share of a period that a batch may fill."""
_WEIGHT = 0.3
"""Of the newest batch in the moving averages."""


class IdleSteps:
    """The number of steps of the next batch, from how long the batches before it took."""

    def __init__(self, steps: int):
        """Begin with the recipe's steps."""
        self._least = steps
        self.steps = steps
        """Steps of the next batch."""
        self._step_seconds: float | None = None
        self._period = 0.0

    def saw(self, working: float, idle: float) -> None:
        """Take in a batch of `steps` steps.

        Args:
            working: seconds that it took.
            idle: seconds that the synthesizer had waited before it.
        """
        step_seconds, period = working / self.steps, working + idle
        if self._step_seconds is None:
            self._step_seconds, self._period = step_seconds, period
        else:
            self._step_seconds += _WEIGHT * (step_seconds - self._step_seconds)
            self._period += _WEIGHT * (period - self._period)
        fitting = int(_SHARE * self._period / max(self._step_seconds, 1e-9))
        self.steps = min(max(fitting, self._least), MOST * self._least)
