"""The parent MLflow run of a sweep's trials; a resumed sweep reopens it."""

from __future__ import annotations

from fastdfkd.text.shown import reason
from fastdfkd.tracking import ParentRun, TrackingError
from fastdfkd.tracking.run import TrackedRun
from fastdfkd.tracking.store import open_store


class SweepRun(ParentRun):
    """A parent run. A `run_id` that is not empty names an earlier run, which is reopened."""

    def __init__(
        self, run_name: str, run_id: str, *, experiment: str, uri: str | None = None
    ) -> None:
        super().__init__(run_name, experiment=experiment, uri=uri)
        self._earlier_run_id = run_id

    def __enter__(self) -> SweepRun:
        """Open the store, and begin the run or reopen the earlier one.

        Raises:
            TrackingError: the store cannot be opened, or does not contain the earlier run.
        """
        if not self._earlier_run_id:
            super().__enter__()
            return self
        store = open_store(self.uri, self._experiment)
        try:
            store.client.update_run(self._earlier_run_id, status="RUNNING")
        except Exception as error:  # raised by MLflow or by its server
            raise TrackingError(
                f"the sweep's MLflow run {self._earlier_run_id} is not in {self.uri} "
                f"({reason(error)}); set MLFLOW_TRACKING_URI to the value it had when the sweep "
                "began, or start a new sweep"
            ) from error
        self._run = TrackedRun(store, self._earlier_run_id)
        return self
