"""One MLflow run: begun or refused, written to without risk to the work, and always ended."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastdfkd import signals
from fastdfkd.runs import environment
from fastdfkd.runs.metrics import COLUMNS
from fastdfkd.text.safe_text import run_name
from fastdfkd.text.shown import reason
from fastdfkd.tracking.store import Store, open_store

_log = logging.getLogger("fastdfkd.tracking")
_ROWS_A_BATCH = 1000 // (len(COLUMNS) + 4)  # MLflow takes 1,000 metrics at once
_STOPPED_BY_HAND = (KeyboardInterrupt, SystemExit, GeneratorExit)


@dataclass(frozen=True)
class RunRecord:
    """Values to log under one step."""

    step: int
    values: Mapping[str, float]
    time: float
    """Unix seconds when they were measured."""


class TrackedRun:
    """A run in a store.

    Beginning it may fail (TrackingError). After that nothing here raises: when the store begins to
    refuse and when it takes again, a warning is logged, and every later write is tried.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._away = False

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
        signals.to_close()
        if run_id is not None and store.reopen(run_id):
            return cls(store, run_id)
        parentage = {"mlflow.parentRunId": parent} if parent else {}
        run = store.client.create_run(
            store.experiment_id, tags={**tags, **parentage}, run_name=run_name(name)
        )
        return cls(store, run.info.run_id)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters; values are kept as text."""
        self._attempt(lambda: self.store.describe(self.run_id, params=params))

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._attempt(lambda: self.store.describe(self.run_id, tags=tags))

    def log_metrics(self, rows: Sequence[RunRecord]) -> list[RunRecord]:
        """Log rows together; values that are not finite are left out.

        Returns:
            The rows that the store did not take.
        """
        from mlflow.entities import Metric

        for start in range(0, len(rows), _ROWS_A_BATCH):
            metrics = [
                Metric(key, float(value), int(row.time * 1000), row.step)
                for row in rows[start : start + _ROWS_A_BATCH]
                for key, value in row.values.items()
                if math.isfinite(value)
            ]
            if not self._attempt(partial(self.store.client.log_batch, self.run_id, metrics)):
                return list(rows[start:])
        return []

    def log_artifacts(self, files: Iterable[Path]) -> None:
        """Copy files to the run's artifacts."""
        for file in files:
            self._attempt(partial(self.store.client.log_artifact, self.run_id, str(file)))

    def end(self, status: str) -> None:
        """Set the final status: FINISHED, FAILED or KILLED."""
        self._attempt(lambda: self.store.client.set_terminated(self.run_id, status))

    def _attempt(self, write: Callable[[], object]) -> bool:
        """Whether the store took it."""
        try:
            write()
        except Exception as error:  # whatever MLflow raises, the training goes on
            level = logging.DEBUG if self._away else logging.WARNING
            self._away = True
            _log.log(
                level,
                "MLflow (%s) refused a write, the run goes on: %s",
                self.uri,
                reason(error),
            )
            return False
        if self._away:
            _log.warning("MLflow (%s) is back", self.uri)
            self._away = False
        return True


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
