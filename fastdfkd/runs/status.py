"""The status of a run, read from its folder, for `fastdfkd status DIR`.

It is read from five files, each of which may be missing: `recipe.yaml`, `teacher.json`,
`metrics.csv`, `state.json` and `result.json`. No process is contacted, so it works on any machine
with access to the folder. The state of the run:

    result.json exists                                  -> finished
    `state` in state.json is failed, stopped, finished  -> that state, with its `error`
    one of the files changed in the last `QUIET_S`
    seconds                                             -> running (starting before the first row)
    otherwise                                           -> silent: stopped, killed, or waiting

`state.json` is a JSON object with optional keys: `state` (`running`, `stopped`, `failed` or
`finished`), `error` (one line), `warnings` and `notes` (lists of lines), `faults` (name to count)
and `images_only` (true: no student is trained).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastdfkd.recipe import Recipe, RecipeError, load_recipe
from fastdfkd.runs.folder import figures_of, read_json
from fastdfkd.runs.metrics import FAULTS, read_rows

QUIET_S = 60.0
"""A run is silent after this many seconds without a new row. A round and an evaluation of a large
recipe take less."""

_FILES = ("recipe.yaml", "metrics.csv", "teacher.json", "state.json", "result.json")
_DONE = ("finished", "failed", "stopped")
_MAX_ERROR_LENGTH = 300
_RECENT_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a run."""

    directory: Path
    state: str
    """`starting`, `running`, `silent`, `stopped`, `failed` or `finished`."""
    error: str | None = None
    quiet_s: float | None = None
    """Seconds since one of the files changed."""
    recipe: Recipe | None = None
    teacher: Mapping[str, Any] = field(default_factory=dict)
    """Content of `teacher.json`."""
    images_only: bool = False
    """Whether the run makes images without a student."""
    notes: tuple[str, ...] = ()
    """Notes of the run so far, see `RunResult.notes`."""
    warnings: tuple[str, ...] = ()
    """Warnings of the run so far, see `RunResult.warnings`."""
    result: Mapping[str, float] = field(default_factory=dict)
    """Figures of a finished run."""
    latest: Mapping[str, float] = field(default_factory=dict)
    """The newest value of each column of `metrics.csv`."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Faults so far, by name; empty if the run has not recorded any count."""
    left_s: float | None = None
    """Estimated seconds to the last update."""

    @property
    def over(self) -> bool:
        """Whether the run has ended: finished, failed or stopped."""
        return self.state in _DONE

    def facts(self) -> dict[str, Any]:
        """The status as plain data for JSON."""
        return {
            "directory": str(self.directory),
            "recipe": self.recipe.name if self.recipe else None,
            "state": self.state,
            "error": self.error,
            "quiet_seconds": self.quiet_s,
            "images_only": self.images_only,
            "latest": dict(self.latest),
            "result": dict(self.result),
            "faults": dict(self.faults),
            "seconds_left": self.left_s,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def read_status(directory: str | Path, *, now: float | None = None) -> Status:
    """Read the status of a run from its folder.

    Args:
        directory: folder of the run.
        now: current Unix time; None reads the clock.

    Raises:
        FileNotFoundError: the folder holds no file of a run.
    """
    folder = Path(directory)
    present = [folder / name for name in _FILES if (folder / name).is_file()]
    if not present:
        raise FileNotFoundError(f"{folder} holds no run: none of {', '.join(_FILES)} is there")
    newest = max(path.stat().st_mtime for path in present)
    quiet = max((time.time() if now is None else now) - newest, 0.0)
    state_file, result = _json_object(folder / "state.json"), _json_object(folder / "result.json")
    rows = _rows(folder / "metrics.csv")
    latest = {key: value for row in rows for key, value in row.items()}
    state = "finished" if result else str(state_file.get("state", "running"))
    if state not in _DONE:
        state = "silent" if quiet > QUIET_S else "running" if latest else "starting"
    recipe = _recipe(folder / "recipe.yaml")
    counted = {name: latest[name] for name in FAULTS if name in latest}
    return Status(
        directory=folder,
        state=state,
        error=_one_line(state_file.get("error")),
        quiet_s=quiet,
        recipe=recipe,
        teacher=_json_object(folder / "teacher.json"),
        result=figures_of(result),
        images_only=state_file.get("images_only") is True,
        notes=_lines(result.get("notes")) or _lines(state_file.get("notes")),
        warnings=_lines(result.get("warnings")) or _lines(state_file.get("warnings")),
        latest=latest,
        faults=counted or _faults(state_file.get("faults")),
        left_s=time_left(rows, recipe) if state == "running" and recipe else None,
    )


def time_left(rows: list[dict[str, float]], recipe: Recipe) -> float | None:
    """Estimated seconds to the last update, from the rate of the newest rows.

    None before there are two rows with updates, as during warm-up.
    """
    points = [
        (row["end_to_end_seconds"], row["updates"])
        for row in rows
        if row.get("updates") and "end_to_end_seconds" in row
    ][-_RECENT_ROWS:]
    if len(points) < 2:
        return None
    seconds, updates = (last - first for first, last in zip(points[0], points[-1], strict=True))
    if updates <= 0 or seconds <= 0:
        return None
    return max(recipe.updates - points[-1][1], 0.0) * seconds / updates


def _json_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing, damaged or not an object."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _rows(path: Path) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`; none if it is missing or not readable."""
    try:
        return read_rows(path)
    except OSError:
        return []


def _faults(value: Any) -> dict[str, float]:
    """Faults by name, from a value of `state.json` that may have any type."""
    return figures_of(value) if isinstance(value, dict) else {}


def _one_line(error: Any) -> str | None:
    """An error message as one line of limited length."""
    return None if error is None else " ".join(str(error)[:_MAX_ERROR_LENGTH].split())


def _recipe(path: Path) -> Recipe | None:
    try:
        return load_recipe(path) if path.is_file() else None
    except RecipeError:  # written by another version of the program
        return None


def _lines(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
