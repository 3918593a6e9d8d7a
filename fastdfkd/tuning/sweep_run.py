"""The MLflow run above a sweep's trials, which an interrupted sweep goes on with."""

from __future__ import annotations

from fastdfkd.text.shown import reason
from fastdfkd.tracking import ParentRun, TrackingError
from fastdfkd.tracking.run import TrackedRun
from fastdfkd.tracking.store import open_store


class SweepRun(ParentRun):
    """A parent run that is opened again where `run_id` names one in the store."""

    def __init__(
        self, run_name: str, run_id: str, *, experiment: str, uri: str | None = None
    ) -> None:
        super().__init__(run_name, experiment=experiment, uri=uri)
        self._before = run_id

    def __enter__(self) -> SweepRun:
        """Open the store.

        Raises:
            TrackingError: the store cannot be opened, or has no such run any more.
        """
        if not self._before:
            super().__enter__()
            return self
        store = open_store(self.uri, self._experiment)
        try:
            store.client.update_run(self._before, status="RUNNING")
        except Exception as error:  # MLflow's own, or its server's
            raise TrackingError(
                f"the sweep's MLflow run {self._before} is not in {self.uri} ({reason(error)}); "
                "set MLFLOW_TRACKING_URI as it was, or start a new sweep"
            ) from error
        self._run = TrackedRun(store, self._before)
        return self
