"""One MLflow run. Beginning it can fail; errors after that are logged and do not stop the work."""

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
from fastdfkd.tracking.store import Store, open_store, unusable

_log = logging.getLogger("fastdfkd.tracking")
_ROWS_PER_BATCH = 1000 // (len(COLUMNS) + 4)  # MLflow accepts 1,000 metrics per request
_STOPPED_BY_USER = (KeyboardInterrupt, SystemExit, GeneratorExit)


@dataclass(frozen=True)
class MetricRow:
    """Metrics of one step."""

    step: int
    values: Mapping[str, float]
    time: float
    """Unix time of the measurement, in seconds."""


class TrackedRun:
    """A run in an MLflow store.

    `begin` may raise TrackingError. The other methods do not raise. They log a warning when the
    store begins to fail and when it works again, and they try every write.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._failing = False

    @property
    def uri(self) -> str:
        """URI of the store."""
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
        """Open the store and create a run, or reopen the run `run_id`; its status is RUNNING.

        Raises:
            TrackingError: the store cannot be opened, or refuses a new run.
        """
        store = open_store(uri, experiment)
        signals.announce_open_run()
        if run_id is not None and store.reopen(run_id):
            return cls(store, run_id)
        parent_tag = {"mlflow.parentRunId": parent} if parent else {}
        try:
            run = store.client.create_run(
                store.experiment_id, tags={**tags, **parent_tag}, run_name=run_name(name)
            )
        except Exception as error:  # MLflow raises many types: the store may be read-only
            raise unusable(uri, _first_cause(error)) from error
        return cls(store, run.info.run_id)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters, with their values as text."""
        self._attempt(lambda: self.store.log_params_and_tags(self.run_id, params=params))

    def log_tags(self, tags: Mapping[str, str]) -> bool:
        """Set tags; whether the store accepted them."""
        return self._attempt(lambda: self.store.log_params_and_tags(self.run_id, tags=tags))

    def log_metrics(self, rows: Sequence[MetricRow]) -> list[MetricRow]:
        """Log rows in batches. Values that are not finite are left out.

        Returns:
            The rows that the store did not accept.
        """
        from mlflow.entities import Metric

        for start in range(0, len(rows), _ROWS_PER_BATCH):
            metrics = [
                Metric(key, float(value), int(row.time * 1000), row.step)
                for row in rows[start : start + _ROWS_PER_BATCH]
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
        """Try a write; whether the store accepted it."""
        try:
            write()
        except Exception as error:  # MLflow raises many types; none may stop the training
            level = logging.DEBUG if self._failing else logging.WARNING
            self._failing = True
            _log.log(
                level,
                "MLflow (%s) refused a write, the run goes on: %s",
                self.uri,
                reason(error),
            )
            return False
        if self._failing:
            _log.warning("MLflow (%s) is back", self.uri)
            self._failing = False
        return True


def _first_cause(error: BaseException) -> BaseException:
    """What the database said; SQLAlchemy's and MLflow's errors around it begin with other words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def status_after(kind: type[BaseException] | None, finished: bool) -> str:
    """MLflow status of a run after its `with` block.

    Args:
        kind: type of the exception that ended the block, if any.
        finished: whether the run recorded its result.
    """
    if kind is not None and issubclass(kind, _STOPPED_BY_USER):
        return "KILLED"
    return "FINISHED" if finished and kind is None else "FAILED"


def environment_tags() -> dict[str, str]:
    """MLflow tags for commit, hardware and versions."""
    commit = environment.commit()
    return {
        "commit": commit,
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
        "hardware": json.dumps(environment.hardware()),
        **{f"hardware.{key}": str(value) for key, value in environment.hardware().items()},
        **{f"version.{key}": value for key, value in environment.versions().items()},
    }
