"""A run that groups others: quickstart's settings, a sweep's trials."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from fastdfkd.tracking.run import RunRecord, TrackedRun, environment_tags, status_after
from fastdfkd.tracking.store import store_uri


class ParentRun:
    """Context manager around a parent run; hand its `run_id` to the runs inside.

    Ends FINISHED when its block is left normally, KILLED by Ctrl-C or SIGTERM, else FAILED.
    """

    def __init__(
        self, run_name: str, *, experiment: str = "fastdfkd", uri: str | None = None
    ) -> None:
        self._name = run_name
        self._experiment = experiment
        self.uri = store_uri(uri)

    @property
    def run_id(self) -> str:
        """Id of the MLflow run, while and after the block."""
        return self._run.run_id

    def __enter__(self) -> ParentRun:
        """Open the store.

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
        """Add figures, tags and files to the parent run itself."""
        self._run.log_metrics([RunRecord(0, metrics or {}, time.time())])
        self._run.log_tags(tags or {})
        self._run.log_artifacts(artifacts)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run.end(status_after(kind, finished=True))
