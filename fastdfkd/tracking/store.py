"""Finds, creates and opens the MLflow store."""

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

from fastdfkd.addresses.credentials import (
    HINT,
    configured_uri,
    set_login_variables,
    strip_credentials,
    with_credentials,
)
from fastdfkd.runs.folder import runs_folder
from fastdfkd.text.shown import reason, shown_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger("fastdfkd.tracking")
_CONNECT_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_SQLITE = "sqlite:///"
_ENTRIES_PER_BATCH = 100
_LOGIN_ERROR = re.compile(
    r"(?i)\b40[13]\b|not authenticated|unauthorized|password auth|access denied"
)
Tags = Mapping[str, str]


class TrackingError(ValueError):
    """The MLflow store cannot be opened. The message gives its URI, the reason and the remedy."""


@dataclass(frozen=True)
class Store:
    """An open MLflow store and one experiment of it."""

    client: MlflowClient
    uri: str
    experiment_id: str

    def reopen(self, run_id: str) -> bool:
        """Set the status of an earlier run to RUNNING; False if the store does not have the run."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            _log.warning(
                "MLflow run %s cannot be resumed, a new one is created: %s", run_id, reason(error)
            )
            return False
        return True

    def log_params_and_tags(
        self, run_id: str, *, params: Mapping[str, object] | None = None, tags: Tags | None = None
    ) -> None:
        """Log parameters and tags of a run, in batches of the size that MLflow accepts."""
        from mlflow.entities import Param, RunTag

        all_params = [Param(key, str(value)) for key, value in (params or {}).items()]
        for start in range(0, len(all_params), _ENTRIES_PER_BATCH):
            self.client.log_batch(run_id, params=all_params[start : start + _ENTRIES_PER_BATCH])
        all_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
        for start in range(0, len(all_tags), _ENTRIES_PER_BATCH):
            self.client.log_batch(run_id, tags=all_tags[start : start + _ENTRIES_PER_BATCH])


def store_uri(configured: str | None = None) -> str:
    """The recipe's URI, else `MLFLOW_TRACKING_URI`, else a SQLite file in `runs/`.

    The URI contains no credentials; `open_store` adds them again.

    Raises:
        TrackingError: `MLFLOW_TRACKING_URI` is not a valid URI for MLflow.
    """
    try:
        uri = configured_uri(configured)
    except ValueError as error:
        raise TrackingError(str(error)) from None
    return uri or f"{_SQLITE}{runs_folder() / 'mlflow.db'}"


def check_reachable(uri: str) -> None:
    """Connect to a server or database once, so that a wrong address is an error before any work.

    For a SQLite file, create its folder if it is missing.

    Raises:
        TrackingError: nothing listens at the address, or the folder is not writable.
    """
    database = _database(uri)
    if database is not None:
        _make_writable(database.parent)
    parts = urlsplit(uri)
    port = _PORTS.get(parts.scheme.partition("+")[0])
    if port is None or not parts.hostname:  # a file, or a database on a local socket
        return
    try:
        address = (parts.hostname, parts.port or port)
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise unusable(uri, error) from error


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrackingError(
            f"the MLflow store cannot be opened: {error.strerror or error}, in {folder}. Set "
            "MLFLOW_TRACKING_URI=sqlite:////FOLDER/mlflow.db, or start in a writable folder"
        ) from error


def open_store(uri: str, experiment: str) -> Store:
    """Open a store, and create the database and the experiment if they are missing.

    A file lock makes sure that one process at a time creates a SQLite database: several at once
    would damage it.

    Raises:
        TrackingError: the store cannot be opened.
    """
    uri = strip_credentials(uri)
    check_reachable(uri)
    set_login_variables(uri)
    try:
        database = _database(uri)
        if database is None:
            return _open(uri, experiment, None)
        from filelock import FileLock

        with FileLock(f"{database}.lock"):
            return _open(uri, experiment, (database.parent / "mlartifacts").as_uri())
    except Exception as error:  # raised by MLflow, SQLAlchemy, requests or the system
        raise unusable(uri, error) from error


def _import_mlflow() -> None:
    # By default MLflow retries for several minutes, which would delay a run if the server fails.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow  # noqa: F401


def _open(uri: str, experiment: str, artifacts: str | None) -> Store:
    _import_mlflow()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=with_credentials(uri))
    existing = client.get_experiment_by_name(experiment)
    if existing is None:
        return Store(client, uri, client.create_experiment(experiment, artifacts))
    if existing.lifecycle_stage != "active":
        raise ValueError(f"experiment {experiment!r} was deleted; restore it or name another")
    return Store(client, uri, existing.experiment_id)


def _database(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def unusable(uri: str, error: BaseException) -> TrackingError:
    """What to tell the user of a store that raised an error before any work."""
    problem = f"the MLflow store {shown_name(uri)} cannot be opened ({reason(error)})"
    if _LOGIN_ERROR.search(str(error)):
        return TrackingError(
            f"{problem}: it needs a valid user and password. They are not stored in any file: give "
            f"them each time, {HINT}"
        )
    return TrackingError(
        f"{problem}; check tracking.uri in the recipe and MLFLOW_TRACKING_URI, or unset both to "
        "use a SQLite file in runs/"
    )
