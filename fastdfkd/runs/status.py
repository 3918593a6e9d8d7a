"""`fastdfkd status DIR`: what a run's folder says about the run, on one screen.

It is read from five files, each of which may be missing: `recipe.yaml`, `teacher.json`,
`metrics.csv`, `state.json` and `result.json`. No process is asked, so it works from any machine
that sees the folder. How the run stands:

    result.json is there                                -> finished
    state.json says "failed", "stopped", ...            -> that, with its "error"
    metrics.csv, or recipe.yaml before it, changed in
    the last `QUIET_S` seconds                          -> running (or starting)
    otherwise                                           -> silent: stopped, killed, or waiting

`state.json`, where there is one, is an object whose keys are all optional: `state` (`running`,
`stopped`, `failed` or `finished`), `error` (one line) and `faults` (name to count).
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
"""Seconds without a row after which a run is called silent: a round of a large recipe is shorter,
its evaluation too."""

_FILES = ("recipe.yaml", "metrics.csv", "teacher.json", "state.json", "result.json")
_DONE = ("finished", "failed", "stopped")
_MOST_SHOWN = 300
_RECENT_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is known of a run."""

    directory: Path
    state: str
    """`starting`, `running`, `silent`, `stopped`, `failed` or `finished`."""
    error: str | None = None
    quiet_s: float | None = None
    """Seconds since the folder's newest news."""
    recipe: Recipe | None = None
    teacher: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What a finished run did otherwise than usual."""
    result: Mapping[str, float] = field(default_factory=dict)
    """Its figures."""
    latest: Mapping[str, float] = field(default_factory=dict)
    """The newest value of each column of `metrics.csv`."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Faults so far; empty where nothing counts them."""
    left_s: float | None = None
    """Estimate of the seconds to the last update."""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in _DONE


def read_status(directory: str | Path, *, now: float | None = None) -> Status:
    """Read a run's folder as it is at Unix time `now`.

    Raises:
        FileNotFoundError: the folder holds no file of a run.
    """
    folder = Path(directory)
    present = [folder / name for name in _FILES if (folder / name).is_file()]
    if not present:
        raise FileNotFoundError(f"{folder} holds no run: none of {', '.join(_FILES)} is there")
    newest = max(path.stat().st_mtime for path in present)
    quiet = max((time.time() if now is None else now) - newest, 0.0)
    said, result = _object(folder / "state.json"), _object(folder / "result.json")
    rows = _rows(folder / "metrics.csv")
    latest = {key: value for row in rows for key, value in row.items()}
    state = "finished" if result else str(said.get("state", "running"))
    if state not in _DONE:
        state = "silent" if quiet > QUIET_S else "running" if latest else "starting"
    recipe = _recipe(folder / "recipe.yaml")
    counted = {name: latest[name] for name in FAULTS if name in latest}
    return Status(
        directory=folder,
        state=state,
        error=_shortened(said.get("error")),
        quiet_s=quiet,
        recipe=recipe,
        teacher=_object(folder / "teacher.json"),
        result=figures_of(result),
        notes=_notes(result.get("notes")),
        latest=latest,
        faults=counted or _faults(said.get("faults")),
        left_s=time_left(rows, recipe) if state == "running" and recipe else None,
    )


def time_left(rows: list[dict[str, float]], recipe: Recipe) -> float | None:
    """Seconds to the last update at the pace of the newest rows; `None` before there is a pace.

    Before the first update (warm-up) nothing is known of the student's pace.
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


def _object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing, damaged or something else."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _rows(path: Path) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`; none where it is missing or something else."""
    try:
        return read_rows(path)
    except OSError:
        return []


def _faults(said: Any) -> dict[str, float]:
    """Faults by name, from a `state.json` that may say anything."""
    return figures_of(said) if isinstance(said, dict) else {}


def _shortened(said: Any) -> str | None:
    """An error as it is shown: one line of it."""
    return None if said is None else " ".join(str(said)[:_MOST_SHOWN].split())


def _recipe(path: Path) -> Recipe | None:
    try:
        return load_recipe(path) if path.is_file() else None
    except RecipeError:  # of another version of the program
        return None


def _notes(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()
