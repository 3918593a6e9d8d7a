"""An MLflow parent run, which groups the settings of a quickstart or the trials of a sweep."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from fastdfkd.tracking.run import MetricRow, TrackedRun, environment_tags, status_after
from fastdfkd.tracking.store import store_uri


class ParentRun:
    """Context manager around a parent run. Pass its `run_id` to the child runs.

    The final status is FINISHED after a normal end of the block, KILLED after Ctrl-C or SIGTERM,
    FAILED after any other exception.
    """

    def __init__(
        self, run_name: str, *, experiment: str = "fastdfkd", uri: str | None = None
    ) -> None:
        self._name = run_name
        self._experiment = experiment
        self.uri = store_uri(uri)

    @property
    def run_id(self) -> str:
        """Id of the MLflow run, during and after the block."""
        return self._run.run_id

    def __enter__(self) -> ParentRun:
        """Open the store and begin the run.

        Raises:
            TrackingError: the store cannot be opened.
        """
        self._run = TrackedRun.begin(
            self.uri, self._experiment, name=self._name, parent=None, tags=environment_tags()
        )
        return self

    def log(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Iterable[Path] = (),
    ) -> None:
        """Add metrics, tags and files to the parent run itself."""
        self._run.log_metrics([MetricRow(0, metrics or {}, time.time())])
        self._run.log_tags(tags or {})
        self._run.log_artifacts(artifacts)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run.end(status_after(kind, finished=True))
