"""Records one distillation run: parameters, tags, progress rows, result and status."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from fastdfkd.recipe import Recipe
from fastdfkd.runs.folder import read_json, write_json
from fastdfkd.runs.metrics import Row, RowFile, rows_until
from fastdfkd.runs.result import RunResult
from fastdfkd.text.shown import reason
from fastdfkd.tracking.run import MetricRow, TrackedRun, environment_tags, status_after
from fastdfkd.tracking.store import store_uri

_SECONDS_BETWEEN_WRITES = 1.0
_STATES = {"RUNNING": "running", "FINISHED": "finished", "KILLED": "stopped", "FAILED": "failed"}
_MAX_UNSENT = 100_000  # rows kept in memory while the store fails: some tens of megabytes
_log = logging.getLogger("fastdfkd.tracking")
_LOGGED_FILES = (
    "recipe.yaml",
    "sources.json",
    "teacher.json",
    "metrics.csv",
    "samples.png",
    "details.json",
    "result.json",
)


class Recorder:
    """Context manager around one run, from its first row to its final status.

    The status is FINISHED after `finish`, KILLED after Ctrl-C or SIGTERM, FAILED in all other
    cases.
    """

    def __init__(
        self,
        recipe: Recipe,
        directory: Path,
        *,
        run_name: str | None = None,
        parent_run_id: str | None = None,
        progress: Callable[[Row], None] | None = None,
        resume_at: int | None = None,
        images_only: bool = False,
    ) -> None:
        """Set the options; `__enter__` opens the store and the files.

        Args:
            recipe: its values are logged as parameters.
            directory: existing folder for `metrics.csv` and `state.json`.
            run_name: name of the MLflow run; None means the recipe's name.
            parent_run_id: id of the MLflow parent run.
            progress: function that is called with every row, and during an evaluation with
                `evaluated` images and `of_images`.
            resume_at: continue the run of the folder and drop its rows after this number of student
                updates; None starts a new run.
            images_only: whether the run makes images without a student; `state.json` says so.
        """
        self._recipe = recipe
        self._directory = directory
        self._name = run_name or recipe.name
        self._parent = parent_run_id
        self._progress = progress
        self._resume_at, self._images_only = resume_at, images_only
        self._step = resume_at or 0
        self.warnings: list[str] = []
        """Warnings of the run so far, one line each."""
        self.notes: list[str] = []
        """Deviations from the recipe found so far, one line each."""
        self._finished = self._csv_failing = False

    @property
    def run_id(self) -> str:
        """Id of the MLflow run, during and after the block."""
        return self._run.run_id

    def __enter__(self) -> Recorder:
        """Open the store and `metrics.csv`, and begin or resume the MLflow run.

        Raises:
            TrackingError: the store cannot be opened.
            OSError: `metrics.csv` cannot be written.
        """
        tracking = self._recipe.tracking
        tags = {
            **environment_tags(),
            "recipe": self._recipe.name,
            "recipe_digest": self._recipe.digest(),
            "directory": str(self._directory),
        }
        self._run = TrackedRun.begin(
            store_uri(tracking.uri),
            tracking.experiment,
            name=self._name,
            parent=self._parent,
            tags=tags,
            run_id=None if self._resume_at is None else self._earlier_run_id(),
        )
        try:
            self._run.log_params(self._recipe.flat())
            self._write_state("RUNNING")
            path = self._directory / "metrics.csv"
            kept = [] if self._resume_at is None else rows_until(path, self._resume_at)
            self._rows = RowFile(path, kept)
            self._writer = _Writer(self._run)
        except BaseException as error:
            self._run.end(status_after(type(error), finished=False))
            raise
        return self

    def log(self, row: Row) -> None:
        """Record one progress row. The step is its `updates`, else that of the row before.

        Raises:
            ValueError: the row has a key that is not in `COLUMNS`.
        """
        self._write_csv(row)
        self._step = int(row.get("updates", self._step))
        self._writer.put(self._step, row)
        if self._progress is not None:
            self._progress(row)

    def warn(self, warning: str) -> None:
        """Write a warning, one line, to `state.json` and to the MLflow tag `warnings`."""
        self.warnings.append(warning)
        self._write_state("RUNNING")
        self._writer.tag("warnings", "\n".join(self.warnings))

    def note(self, note: str) -> None:
        """Write a deviation from the recipe, one line, to `state.json`."""
        self.notes.append(note)
        self._write_state("RUNNING")

    def evaluating(self, images: int, of: int) -> None:
        """Show how many images a running evaluation has done, and of how many."""
        if self._progress is not None:
            self._progress({"evaluated": images, "of_images": of})

    def finish(self, result: RunResult, artifacts: Iterable[Path] | None = None) -> None:
        """Log the figures of the result as metrics, and the run's files as artifacts.

        Args:
            result: result of the run.
            artifacts: files to log; None means those of the run's folder except the weights.
        """
        self._writer.close()
        figures = {
            key: float(value)
            for key, value in result.model_dump(exclude={"seed"}).items()
            if isinstance(value, int | float)
        }
        self._run.log_metrics([MetricRow(result.updates, figures, time.time())])
        if result.input:
            self._run.log_tags({f"input.{key}": str(value) for key, value in result.input.items()})
        if artifacts is None:
            files = (self._directory / name for name in _LOGGED_FILES)
            artifacts = [file for file in files if file.is_file()]
        self._run.log_artifacts(artifacts)
        self._finished = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writer.close()
            self._close_file()
        finally:
            status = status_after(kind, self._finished)
            self._run.end(status)
            self._write_state(status, error if status == "FAILED" else None)

    def _write_csv(self, row: Row) -> None:
        """Append to `metrics.csv`. An error, such as a full disk, does not stop the training."""
        try:
            self._rows.append(row)
        except OSError as error:
            if not self._csv_failing:
                _log.warning("metrics.csv cannot be written, the run goes on: %s", error)
            self._csv_failing = True
        else:
            self._csv_failing = False

    def _close_file(self) -> None:
        try:
            self._rows.close()
        except OSError as error:
            _log.warning("the last rows of metrics.csv are lost: %s", error)

    def _write_state(self, status: str, error: BaseException | None = None) -> None:
        """Write the state of the run and the id of the MLflow run to `state.json`."""
        state: dict[str, Any] = {
            "state": _STATES[status],
            "mlflow_run_id": self.run_id,
            "tracking_uri": self._run.uri,
        }
        if self._images_only:
            state["images_only"] = True
        if self.warnings:
            state["warnings"] = self.warnings
        if self.notes:
            state["notes"] = self.notes
        if error is not None:
            state["error"] = reason(error)
        try:
            write_json(self._directory / "state.json", state)
        except OSError as failure:
            _log.warning("state.json cannot be written: %s", failure)

    def _earlier_run_id(self) -> str | None:
        try:
            return str(read_json(self._directory / "state.json")["mlflow_run_id"])
        except (OSError, ValueError, KeyError):
            return None


class _Writer:
    """Sends rows and tags to MLflow from its own thread, about once a second.

    Those that the store did not accept are sent again with the next rows.
    """

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._queue: queue.SimpleQueue[MetricRow | None] = queue.SimpleQueue()
        self._tags: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()

    def put(self, step: int, row: Row) -> None:
        self._queue.put(MetricRow(step, dict(row), time.time()))

    def tag(self, name: str, value: str) -> None:
        self._tags.put({name: value})

    def close(self) -> None:
        """Send the remaining rows and end the thread. A second call does nothing."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        open_, unsent = True, list[MetricRow]()
        while open_:
            rows, open_ = self._gather()
            unsent = self._run.log_metrics(unsent + rows)[-_MAX_UNSENT:]
            self._send_tags()
        if unsent:
            _log.warning("rows that are only in metrics.csv, not in MLflow: %d", len(unsent))

    def _send_tags(self) -> None:
        tags: dict[str, str] = {}
        while not self._tags.empty():
            tags |= self._tags.get()
        if tags and not self._run.log_tags(tags):
            self._tags.put(tags)

    def _gather(self) -> tuple[list[MetricRow], bool]:
        """Collect rows for one second; returns them, and whether more may follow."""
        rows: list[MetricRow] = []
        deadline: float | None = None
        while True:
            wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                row = self._queue.get(timeout=wait)
            except queue.Empty:
                return rows, True
            if row is None:
                return rows, False
            rows.append(row)
            deadline = deadline or time.monotonic() + _SECONDS_BETWEEN_WRITES
