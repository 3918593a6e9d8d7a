"""Progress rows: their columns, and `metrics.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from fastdfkd.runs.files import read_whole, write_whole

Row = Mapping[str, float]
"""One progress row: some of `COLUMNS`, as numbers."""

FAULTS = ("restarts", "worker_restarts", "bank_restarts", "board_restarts", "rejected", "lost")
"""Columns that count what went wrong and was mended."""

JUDGED = ("accuracy", "top5_accuracy", "agreement")
"""Columns that an evaluation fills in, as far as there are images to judge on."""

COLUMNS = (
    "updates",
    "rounds",
    "images",
    "bank_images",
    "loss",
    "lr",
    *JUDGED,
    "staleness",
    "images_per_second",
    "updates_per_second",
    "synthesis_loss",
    "bn_loss",
    "oh_loss",
    "adv_loss",
    "synthesis_seconds",
    "storage_seconds",
    "distillation_seconds",
    "evaluation_seconds",
    "synthesizer_idle_seconds",
    "trainer_idle_seconds",
    "synthesizer_idle_ratio",
    "trainer_idle_ratio",
    "synthesizer_peak_memory_bytes",
    "trainer_peak_memory_bytes",
    "end_to_end_seconds",
    *FAULTS,
)
"""Every column of `metrics.csv`, in its order; times are seconds since the start of the run.

`updates` is the step. `loss` is the student's KL; `accuracy`, `top5_accuracy` (with more than five
classes) and `agreement`, 0 to 1, are on evaluation rows only. A cell without a value is empty.
"""


_MOST_BYTES = 2**30


def is_evaluation(row: Row) -> bool:
    """Whether a progress row has what an evaluation found."""
    return any(name in row for name in JUDGED)


class RowFile:
    """`metrics.csv`, open for appending. Each row is on disk when `append` returns."""

    def __init__(self, path: Path, kept: Iterable[Row] = ()) -> None:
        """Begin the file anew with the rows `kept` of an earlier one."""
        start = io.StringIO(newline="")
        writer = csv.DictWriter(start, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(kept)
        write_whole(path, start.getvalue().encode())
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS, restval="")

    def append(self, row: Row) -> None:
        """Write one row; non-finite numbers are written as they are.

        Raises:
            ValueError: the row has a key that is not in `COLUMNS`.
            OSError: the disk is full; what was not written is tried again with the next row.
        """
        strange = sorted(set(row) - set(COLUMNS))
        if strange:
            raise ValueError(f"unknown progress columns {strange}: add them to tracking.COLUMNS")
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        """Write what is left; raises OSError as `append` does."""
        self._file.close()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`, empty cells and unknown columns left out.

    So are rows that a power cut left behind damaged, or half written at the end. No cell needs
    quotes, so a line is a row whatever stands in it.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is no regular file, enormous, or cannot be read.
    """
    whole = read_whole(path, _MOST_BYTES).rpartition(b"\n")[0].decode("utf-8-sig", "replace")
    names, *rows = [line.split(",") for line in whole.splitlines()] or [[]]
    return [found for row in rows if (found := _numbers(names, row))]


def rows_until(path: Path, updates: int) -> list[dict[str, float]]:
    """Rows of a `metrics.csv` up to a number of student updates; none where there is no file."""
    if updates == 0 or not path.is_file():
        return []
    return [row for row in read_rows(path) if row.get("updates", 0.0) <= updates]


def _numbers(names: Sequence[str], cells: Sequence[str]) -> dict[str, float]:
    """A row's cells as numbers; nothing where one is none, or there are too many or too few."""
    try:
        pairs = zip(names, cells, strict=True)
        return {name: float(cell) for name, cell in pairs if cell and name in COLUMNS}
    except ValueError:
        return {}
