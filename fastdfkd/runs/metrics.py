"""Progress rows: their columns, and `metrics.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.files import read_whole, write_whole

Row = Mapping[str, float]
"""One progress row: some of `COLUMNS`, as numbers."""

FAULTS = ("restarts", "worker_restarts", "bank_restarts", "board_restarts", "rejected", "lost")
"""Columns that count faults from which the run recovered."""

JUDGED = tuple(FIGURES)
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
    "synthesis_steps",
    "images_per_second",
    "updates_per_second",
    "synthesis_loss",
    "bn_loss",
    "oh_loss",
    "adv_loss",
    "cr_loss",
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
    "newest_confidence",
    "newest_coverage",
    "newest_distinct",
)
"""All columns of `metrics.csv`, in order. Times are in seconds, totals since the run started.

`updates` is the step. `synthesis_steps` are the optimisation steps of the newest batch. `loss` is
the student's KL divergence. `accuracy`, `top5_accuracy` (with more than five classes) and
`agreement` (0 to 1) are in evaluation rows only, and so are the columns that begin with
`synthetic_`, for held-out synthetic images. The columns `newest_*` describe the images of the
newest rounds (`core/collapse.py`). Cells without a value are empty.
"""


_MAX_BYTES = 2**30


def is_evaluation(row: Row) -> bool:
    """Whether a progress row has what an evaluation found."""
    return any(name in row for name in JUDGED)


class RowFile:
    """`metrics.csv`, open for appending. `append` flushes each row to the operating system."""

    def __init__(self, path: Path, kept: Iterable[Row] = ()) -> None:
        """Replace the file with one that contains the rows `kept`."""
        start = io.StringIO(newline="")
        writer = csv.DictWriter(start, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(kept)
        write_whole(path, start.getvalue().encode())
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS, restval="")

    def append(self, row: Row) -> None:
        """Append one row. Infinite numbers and NaN are written too.

        Raises:
            ValueError: the row has a key that is not in `COLUMNS`.
            OSError: the disk is full; the row is written with the next one.
        """
        extra = sorted(set(row) - set(COLUMNS))
        if extra:
            raise ValueError(f"unknown columns {extra}: add them to `runs.metrics.COLUMNS`")
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        """Write the buffered rows and close the file.

        Raises:
            OSError: the disk is full.
        """
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
    """Read a `metrics.csv`, without empty cells and unknown columns.

    Damaged rows and an incomplete last row, as a power failure can leave them, are skipped. No cell
    contains quotes or line breaks, so each line is one row.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not a regular file, is larger than 1 GiB, or cannot be read.
    """
    text = read_whole(path, _MAX_BYTES).rpartition(b"\n")[0].decode("utf-8-sig", "replace")
    names, *rows = [line.split(",") for line in text.splitlines()] or [[]]
    return [numbers for row in rows if (numbers := _numbers(names, row))]


def rows_until(path: Path, updates: int) -> list[dict[str, float]]:
    """Rows of a `metrics.csv` up to a number of student updates; none if there is no file."""
    if updates == 0 or not path.is_file():
        return []
    return [row for row in read_rows(path) if row.get("updates", 0.0) <= updates]


def _numbers(names: Sequence[str], cells: Sequence[str]) -> dict[str, float]:
    """The cells of a row as numbers; empty if a cell is not a number or the count is wrong."""
    try:
        pairs = zip(names, cells, strict=True)
        return {name: float(cell) for name, cell in pairs if cell and name in COLUMNS}
    except ValueError:
        return {}
