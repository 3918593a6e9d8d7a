"""Finding, making and opening the MLflow store."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastdfkd.addresses.credentials import HINT, configured_uri, log_in, taken_out, whole
from fastdfkd.runs.folder import runs_folder
from fastdfkd.text.shown import reason, shown_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger("fastdfkd.tracking")
_CONNECT_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_SQLITE = "sqlite:///"
_ENTRIES_A_BATCH = 100
_WANTS_LOGIN = re.compile(
    r"(?i)\b40[13]\b|not authenticated|unauthorized|password auth|access denied"
)
Tags = Mapping[str, str]


class TrackingError(ValueError):
    """The MLflow store cannot be opened. The message says which, why, and what to do."""


@dataclass(frozen=True)
class Store:
    """An open MLflow store and one experiment of it."""

    client: MlflowClient
    uri: str
    experiment_id: str

    def reopen(self, run_id: str) -> bool:
        """Set an earlier run running again; False where the store does not know it."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            _log.warning(
                "MLflow run %s cannot go on, a new one is begun: %s", run_id, reason(error)
            )
            return False
        return True

    def describe(
        self, run_id: str, *, params: Mapping[str, object] | None = None, tags: Tags | None = None
    ) -> None:
        """Log parameters and tags of a run, as many at once as MLflow takes."""
        from mlflow.entities import Param, RunTag

        texts = [Param(key, str(value)) for key, value in (params or {}).items()]
        for start in range(0, len(texts), _ENTRIES_A_BATCH):
            self.client.log_batch(run_id, params=texts[start : start + _ENTRIES_A_BATCH])
        marks = [RunTag(key, value) for key, value in (tags or {}).items()]
        for start in range(0, len(marks), _ENTRIES_A_BATCH):
            self.client.log_batch(run_id, tags=marks[start : start + _ENTRIES_A_BATCH])


def store_uri(configured: str | None = None) -> str:
    """The recipe's URI, else `MLFLOW_TRACKING_URI`, else a SQLite file in the folder of runs.

    Without credentials: `open_store` finds them again.

    Raises:
        TrackingError: `MLFLOW_TRACKING_URI` is none that MLflow can use.
    """
    try:
        chosen = configured_uri(configured)
    except ValueError as error:
        raise TrackingError(str(error)) from None
    return chosen or f"{_SQLITE}{runs_folder() / 'mlflow.db'}"


def check_reachable(uri: str) -> None:
    """Knock at a server or a database, so that a wrong address is told at once, before any work.

    Of a SQLite file the folder is made, if it is not there.

    Raises:
        TrackingError: nothing listens there, or the folder cannot be written to.
    """
    database = _database(uri)
    if database is not None:
        _make_writable(database.parent)
    parts = urlsplit(uri)
    port = _PORTS.get(parts.scheme.partition("+")[0])
    if port is None or not parts.hostname:  # a file, or a database behind a socket of this machine
        return
    try:
        address = (parts.hostname, parts.port or port)
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _unusable(uri, error) from error


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrackingError(
            f"the MLflow store cannot be opened: {error.strerror or error}, in {folder}. Set "
            "MLFLOW_TRACKING_URI=sqlite:////FOLDER/mlflow.db, or start in a folder of yours"
        ) from error


def open_store(uri: str, experiment: str) -> Store:
    """Open a store, making the database and the experiment where they are missing.

    A new SQLite database made by several processes at once breaks, so a file lock stands before it.

    Raises:
        TrackingError: the store cannot be opened.
    """
    uri = taken_out(uri)
    check_reachable(uri)
    log_in(uri)
    try:
        database = _database(uri)
        if database is None:
            return _open(uri, experiment, None)
        from filelock import FileLock

        with FileLock(f"{database}.lock"):
            return _open(uri, experiment, (database.parent / "mlartifacts").as_uri())
    except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' and the system's
        raise _unusable(uri, error) from error


def _import_mlflow() -> None:
    # A server that goes away must not hold a run for MLflow's default of several minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow  # noqa: F401


def _open(uri: str, experiment: str, artifacts: str | None) -> Store:
    _import_mlflow()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=whole(uri))
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return Store(client, uri, client.create_experiment(experiment, artifacts))
    if found.lifecycle_stage != "active":
        raise ValueError(f"experiment {experiment!r} was deleted; restore it or name another")
    return Store(client, uri, found.experiment_id)


def _database(uri: str) -> Path | None:
    """The file of a SQLite store, None for any other."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def _unusable(uri: str, error: Exception) -> TrackingError:
    said = f"the MLflow store {shown_name(uri)} cannot be opened ({reason(error)})"
    if _WANTS_LOGIN.search(str(error)):
        return TrackingError(
            f"{said}: it wants a user that it knows. No file keeps credentials: give them each "
            f"time, {HINT}"
        )
    return TrackingError(
        f"{said}; check tracking.uri in the recipe and MLFLOW_TRACKING_URI, or unset both to use a "
        "SQLite file in runs/"
    )
