"""One MLflow run: begun or refused, written to without risk to the work, and always ended."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from fastdfkd import environment
from fastdfkd.tracking.store import Store, open_store

_log = logging.getLogger("fastdfkd.tracking")
_METRICS_A_BATCH = 1000  # what MLflow takes at once
_STOPPED_BY_HAND = (KeyboardInterrupt, SystemExit, GeneratorExit)


class TrackedRun:
    """A run in a store.

    Beginning it may fail (TrackingError). After that nothing here raises: the first refusal of
    the store is logged as a warning, later ones are quiet, and every later write is tried.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._warned = False

    @property
    def uri(self) -> str:
        """Of the store."""
        return self.store.uri

    @classmethod
    def begin(
        cls,
        uri: str,
        experiment: str,
        *,
        name: str,
        parent: str | None,
        tags: Mapping[str, str],
        run_id: str | None = None,
    ) -> TrackedRun:
        """Open the store and create a RUNNING run in it, or set the one of `run_id` running again.

        Raises:
            TrackingError: the store cannot be opened.
        """
        store = open_store(uri, experiment)
        if run_id is not None and store.reopen(run_id):
            return cls(store, run_id)
        parentage = {"mlflow.parentRunId": parent} if parent else {}
        run = store.client.create_run(
            store.experiment_id, tags={**tags, **parentage}, run_name=name
        )
        return cls(store, run.info.run_id)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters; values are kept as text."""
        self._attempt(lambda: self.store.describe(self.run_id, params=params))

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._attempt(lambda: self.store.describe(self.run_id, tags=tags))

    def log_metrics(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Log (step, values) rows together; values that are not finite are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(key, float(value), now, step)
            for step, row in rows
            for key, value in row.items()
            if math.isfinite(value)
        ]
        for start in range(0, len(metrics), _METRICS_A_BATCH):
            batch = metrics[start : start + _METRICS_A_BATCH]
            self._attempt(partial(self.store.client.log_batch, self.run_id, batch))

    def log_artifacts(self, files: Iterable[Path]) -> None:
        """Copy files to the run's artifacts."""
        for file in files:
            self._attempt(partial(self.store.client.log_artifact, self.run_id, str(file)))

    def end(self, status: str) -> None:
        """Set the final status: FINISHED, FAILED or KILLED."""
        self._attempt(lambda: self.store.client.set_terminated(self.run_id, status))

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:  # whatever MLflow raises, the training goes on
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            _log.log(
                level, "MLflow (%s) refused a write, the run goes on: %s", self.store.uri, error
            )


def status_after(kind: type[BaseException] | None, finished: bool) -> str:
    """Status of a run whose block was left by an exception of `kind`, or normally."""
    if kind is not None and issubclass(kind, _STOPPED_BY_HAND):
        return "KILLED"
    return "FINISHED" if finished and kind is None else "FAILED"


def environment_tags() -> dict[str, str]:
    """Tags for commit, hardware and versions."""
    commit = environment.commit()
    return {
        "commit": commit,
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
        "hardware": json.dumps(environment.hardware()),
        **{f"hardware.{key}": str(value) for key, value in environment.hardware().items()},
        **{f"version.{key}": value for key, value in environment.versions().items()},
    }
