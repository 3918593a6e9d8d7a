"""A sweep's folder: what was asked, and one line for each trial that has ended.

    sweep.json      the options, and the sweep's MLflow run
    recipe.yaml     the recipe with its overrides
    space.yaml      the search space
    trials.jsonl    a line a trial, written by the driver when the trial ends
    trials/<name>/  the trial's run folder

Everything is text: a sweep is resumed from these files and nothing is unpickled.
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
_MOST_BYTES = 2**30
_KNOWN_KEYS_ALONE = ConfigDict(extra="forbid")
Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a sweep was asked to do."""

    __pydantic_config__: ClassVar = _KNOWN_KEYS_ALONE

    search: Literal["grid", "random", "optuna"]
    scheduler: Literal["fifo", "asha"]
    objective: str
    """As `parse_objectives` reads it."""
    trials: int
    """Points; a grid's own number replaces it."""
    seeds: int
    """Runs of each point."""
    parent_run_id: str = ""
    """The sweep's MLflow run, once there is one."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """How one trial ended."""

    __pydantic_config__: ClassVar = _KNOWN_KEYS_ALONE

    index: NonNegativeInt
    """Of the point."""
    seed: int
    point: Point
    status: Status
    """`stopped`: by the scheduler, before its last update."""
    figures: dict[str, float] = field(default_factory=dict)
    """Objectives, accuracy, agreement, images, updates and seconds, as far as the trial came."""
    evaluations: int = 0
    """Evaluations that the scheduler saw."""
    error: str = ""
    """First line of what a failed trial raised."""
    directory: str = ""
    """Of the trial's run."""


class TrialLog:
    """Reads and writes a sweep's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_options(self, options: Options) -> None:
        """Write `sweep.json`."""
        write_json(self.folder / "sweep.json", asdict(options))

    def options(self) -> Options:
        """What the sweep was asked.

        Raises:
            ValueError: the folder holds no sweep, or a damaged one.
        """
        path = self.folder / "sweep.json"
        try:
            return TypeAdapter(Options).validate_json(read_whole(path, _MOST_BYTES), strict=True)
        except FileNotFoundError:
            raise ValueError(f"{self.folder} holds no sweep: {path.name} is missing") from None
        except ValidationError as error:
            raise ValueError(f"{path}: damaged, or of another version ({_first(error)})") from None

    def append(self, record: TrialRecord) -> None:
        """Add a trial; it is on disk when this returns."""
        with (self.folder / "trials.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> list[TrialRecord]:
        """Trials that have ended, each once: of one that was run again, its last end.

        A last line that was cut short when the driver was killed is left out.

        Raises:
            ValueError: a line before the last one is damaged.
        """
        path = self.folder / "trials.jsonl"
        content = read_whole(path, _MOST_BYTES) if path.exists() else b""
        lines = content.decode(errors="replace").splitlines()
        found: dict[tuple[int, int], TrialRecord] = {}
        for number, line in enumerate(lines, 1):
            try:
                record = _record(line)
            except ValueError as error:
                if number == len(lines):
                    break
                raise ValueError(f"{path}, line {number}: damaged ({error})") from error
            found[record.index, record.seed] = record
        return list(found.values())

    def mend(self) -> None:
        """Cut off a last line that is half written or damaged: the next one starts on its own."""
        path = self.folder / "trials.jsonl"
        lines = read_whole(path, _MOST_BYTES).splitlines(keepends=True) if path.exists() else []
        if lines and not _whole(lines[-1]):
            write_whole(path, b"".join(lines[:-1]))

    def done(self) -> list[TrialRecord]:
        """Trials that are not run again: finished, or stopped by the scheduler."""
        return [record for record in self.records() if record.status != "failed"]


def _record(line: str) -> TrialRecord:
    """A trial from its line.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    try:
        return TypeAdapter(TrialRecord).validate_json(line, strict=True)
    except ValidationError as error:
        raise ValueError(_first(error)) from None


def _whole(line: bytes) -> bool:
    try:
        _record(line.decode())
    except ValueError:
        return False
    return line.endswith(b"\n")


def _first(error: ValidationError) -> str:
    """The first finding, in a line."""
    found = error.errors()[0]
    return f"{'.'.join(map(str, found['loc'])):.60}: {found['msg']:.200}"


def scalars(figures: Any) -> dict[str, float]:
    """The numbers among a mapping's values."""
    return {
        str(key): float(value)
        for key, value in dict(figures).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
