"""The folder of a sweep: its options, and a log with one line per trial that has ended.

    sweep.json      the options and the id of the sweep's MLflow run
    recipe.yaml     the recipe with its overrides
    space.yaml      the search space
    trials.jsonl    one line per trial, written by the driver when the trial ends
    trials/<name>/  run folder of the trial

All files are text: a sweep is resumed from them, and nothing is unpickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, NonNegativeInt, TypeAdapter, ValidationError

from fastdfkd.runs.files import read_whole, write_whole
from fastdfkd.runs.folder import write_json
from fastdfkd.tuning.parameter import Point

SWEEP_FILES = ("sweep.json", "recipe.yaml", "space.yaml", "trials.jsonl")
_MAX_BYTES = 2**30
_NO_EXTRA_KEYS = ConfigDict(extra="forbid")
Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a sweep."""

    __pydantic_config__: ClassVar = _NO_EXTRA_KEYS

    search: Literal["grid", "random", "optuna"]
    scheduler: Literal["fifo", "asha"]
    objective: str
    """In the form that `parse_objectives` reads; empty: `new_sweep` chooses it by the recipe."""
    trials: int
    """Number of points. A grid or random search sets it to the number of its points."""
    seeds: int
    """Number of seeds per point."""
    parent_run_id: str = ""
    """Id of the sweep's MLflow run; empty before the first start."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """The outcome of one trial."""

    __pydantic_config__: ClassVar = _NO_EXTRA_KEYS

    index: NonNegativeInt
    """Index of the point."""
    seed: int
    point: Point
    status: Status
    """`stopped` means stopped by the scheduler before the last update."""
    figures: dict[str, float] = field(default_factory=dict)
    """Objectives, accuracy, agreement, images, updates and seconds at the last evaluation."""
    evaluations: int = 0
    """Number of evaluations that were reported to the scheduler."""
    warnings: str = ""
    """What the trial warned of (`RunResult.warnings`), one warning a line."""
    error: str = ""
    """The error of a failed trial, one line."""
    directory: str = ""
    """Run folder of the trial."""


class TrialLog:
    """Reads and writes the options and the trial log of a sweep's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_options(self, options: Options) -> None:
        """Write `sweep.json`."""
        write_json(self.folder / "sweep.json", asdict(options))

    def options(self) -> Options:
        """Read `sweep.json`.

        Raises:
            ValueError: the folder holds no sweep, or a damaged one.
        """
        path = self.folder / "sweep.json"
        try:
            return TypeAdapter(Options).validate_json(read_whole(path, _MAX_BYTES), strict=True)
        except FileNotFoundError:
            raise ValueError(f"{self.folder} holds no sweep: {path.name} is missing") from None
        except ValidationError as error:
            message = _first_error(error)
            raise ValueError(f"{path}: damaged, or of another version ({message})") from None

    def append(self, record: TrialRecord) -> None:
        """Append a trial. It is synced to disk when this returns."""
        with (self.folder / "trials.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> list[TrialRecord]:
        """Trials that have ended, each once. The last record of a repeated trial counts.

        A damaged last line is skipped: a driver that is killed can leave one.

        Raises:
            ValueError: a line before the last one is damaged.
        """
        path = self.folder / "trials.jsonl"
        content = read_whole(path, _MAX_BYTES) if path.exists() else b""
        lines = content.decode(errors="replace").splitlines()
        latest: dict[tuple[int, int], TrialRecord] = {}
        for number, line in enumerate(lines, 1):
            try:
                record = _record(line)
            except ValueError as error:
                if number == len(lines):
                    break
                raise ValueError(f"{path}, line {number}: damaged ({error})") from error
            latest[record.index, record.seed] = record
        return list(latest.values())

    def repair(self) -> None:
        """Remove an incomplete or damaged last line, so that the next one can be appended."""
        path = self.folder / "trials.jsonl"
        lines = read_whole(path, _MAX_BYTES).splitlines(keepends=True) if path.exists() else []
        if lines and not _is_complete(lines[-1]):
            write_whole(path, b"".join(lines[:-1]))

    def done(self) -> list[TrialRecord]:
        """Trials that are not run again: those that finished or that the scheduler stopped."""
        return [record for record in self.records() if record.status != "failed"]


def _record(line: str) -> TrialRecord:
    """Parse a line of the log.

    Raises:
        ValueError: the line is damaged, or of another version.
    """
    try:
        return TypeAdapter(TrialRecord).validate_json(line, strict=True)
    except ValidationError as error:
        raise ValueError(_first_error(error)) from None


def _is_complete(line: bytes) -> bool:
    try:
        _record(line.decode())
    except ValueError:
        return False
    return line.endswith(b"\n")


def _first_error(error: ValidationError) -> str:
    """The first validation error as one line."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])):.60}: {first['msg']:.200}"


def scalars(figures: Any) -> dict[str, float]:
    """The items of a mapping whose values are numbers."""
    return {
        str(key): float(value)
        for key, value in dict(figures).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
