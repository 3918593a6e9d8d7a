"""Puts a model folder into the registry of an MLflow store, under a name and an alias."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fastdfkd.text.shown import reason, shown, shown_name
from fastdfkd.tracking.store import Store, TrackingError, open_store

_FOLDER = "student"
"""Folder of the model among a run's artifacts."""
_NAME = re.compile(r"[^/:@]+")
_ALIAS = re.compile(r"[A-Za-z][\w-]*")
_NUMBERED = re.compile(r"v\d+")


@dataclass(frozen=True)
class RegisteredModel:
    """A version of a model in the registry."""

    name: str
    version: str
    alias: str

    @property
    def uri(self) -> str:
        """`models:/NAME@ALIAS`, as commands of MLflow take it."""
        return f"models:/{self.name}@{self.alias}"


def check_names(name: str, alias: str) -> None:
    """Check a name and an alias before anything is written.

    Raises:
        ValueError: MLflow would refuse one of them.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"--name: expected a name without / : and @, got {shown(name)}")
    if not _ALIAS.fullmatch(alias) or alias == "latest" or _NUMBERED.fullmatch(alias):
        raise ValueError(
            f"--alias: expected letters, digits, - and _, beginning with a letter, not latest and "
            f"not v1, got {shown(alias)}"
        )


def register(
    uri: str, experiment: str, run_id: str, folder: Path, *, name: str, alias: str, about: str
) -> RegisteredModel:
    """Copy a model folder to a run's artifacts, and make it a version of a registered model.

    Args:
        uri: of the store that has the run.
        experiment: of the run.
        run_id: of the run.
        folder: as MLflow's `save_model` writes it.
        name: of the registered model, which is created if it is new.
        alias: is set to the new version.
        about: description of the version.

    Raises:
        TrackingError: the store cannot be opened, does not have the run, or refuses the model.
    """
    store = open_store(uri, experiment)
    try:
        return _registered(store, run_id, folder, name, alias, about)
    except Exception as error:  # MLflow raises many types
        raise TrackingError(
            f"the student cannot be registered as {shown_name(name)} in {shown_name(uri)}: "
            f"{reason(error)}"
        ) from error


def _registered(
    store: Store, run_id: str, folder: Path, name: str, alias: str, about: str
) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    client = store.client
    run = client.get_run(run_id)
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    client.log_artifacts(run_id, str(folder), _FOLDER)
    version = client.create_model_version(
        name, f"{run.info.artifact_uri}/{_FOLDER}", run_id, description=about
    )
    client.set_registered_model_alias(name, alias, version.version)
    return RegisteredModel(name, str(version.version), alias)
