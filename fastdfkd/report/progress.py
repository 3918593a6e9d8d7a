"""Progress bars with rates and time left, shown on a terminal only."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from fastdfkd.recipe import Recipe
from fastdfkd.runs.figures import FIGURES, main_figure
from fastdfkd.text.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress, TaskID

_log = logging.getLogger("fastdfkd.report.progress")
_SECONDS_BETWEEN_LINES = 10.0


class RunProgress:
    """Two bars, for images and, unless `images_only`, student updates. Call it with each row.

    If stderr is not a terminal, it logs a line every ten seconds instead, at level INFO, which is
    shown with `--verbose` only.
    """

    def __init__(
        self, recipe: Recipe, label: str, *, shown: bool = True, images_only: bool = False
    ) -> None:
        self._label = printable(label)
        images = recipe.synthesis.rounds * recipe.synthesis.batch_size
        self._totals = {"images": images} | ({} if images_only else {"updates": recipe.updates})
        self._bars: Progress | None = _bars() if shown and sys.stderr.isatty() else None
        self._tasks: dict[str, TaskID] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> RunProgress:
        """Show the bars."""
        if self._bars is not None:
            for key, total in self._totals.items():
                self._tasks[key] = self._bars.add_task(
                    f"{self._label}: {key}", total=total, rate="", note=""
                )
            self._bars.start()
        return self

    def __call__(self, row: Mapping[str, float]) -> None:
        """Show one progress row, or how far an evaluation is."""
        if self._bars is None:
            self._log_row(row)
            return
        if "evaluated" in row:
            self._bars.update(list(self._tasks.values())[-1], note=_evaluated(row))
            return
        for key, task in self._tasks.items():
            if key in row:
                self._bars.update(task, completed=row[key])
            if f"{key}_per_second" in row:
                self._bars.update(task, rate=f"{row[f'{key}_per_second']:,.1f} {key}/s")
        if (name := main_figure(row)) in row:
            note = f"{FIGURES[name].name} {FIGURES[name].show(row[name])}"
            self._bars.update(list(self._tasks.values())[-1], note=note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _log_row(self, row: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        if "evaluated" in row:
            _log.info("%s: %s", self._label, _evaluated(row))
            return
        counts = (f"{row.get(key, 0):.0f} of {n} {key}" for key, n in self._totals.items())
        _log.info("%s: %s", self._label, ", ".join(counts))


def _evaluated(row: Mapping[str, float]) -> str:
    return f"evaluation: {row['evaluated']:,.0f} of {row['of_images']:,.0f} images"


class EpochProgress:
    """One bar over the epochs of the teacher's training. It appears after the first epoch."""

    def __init__(self, label: str, epochs: int, *, shown: bool = True) -> None:
        self._label = printable(label)
        self._epochs = epochs
        self._bars: Progress | None = _bars() if shown and sys.stderr.isatty() else None
        self._task: TaskID | None = None

    def __enter__(self) -> EpochProgress:
        """Show nothing yet: a cached teacher has no epochs to train."""
        return self

    def update(self, epoch: int, note: str = "") -> None:
        """Set the number of finished epochs."""
        if self._bars is None:
            _log.info("%s: epoch %d of %d %s", self._label, epoch, self._epochs, note)
            return
        if self._task is None:
            self._task = self._bars.add_task(self._label, total=self._epochs, rate="", note="")
            self._bars.start()
        self._bars.update(self._task, completed=epoch, note=note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.stop()


def _bars() -> Progress:
    """Progress bars on stderr: label, bar, counts, rate, elapsed time, time left and a note."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
    )
