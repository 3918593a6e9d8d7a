"""Submit a recipe to a Ray cluster as a Ray job.

    fastdfkd submit RECIPE --address http://127.0.0.1:8265

The recipe is read and checked here. Its YAML with all overrides is sent in an environment variable
of the job, which pipes it to `fastdfkd distill -`. The Python files that it names
(`file.py:builder`) are sent in another one. No working directory is uploaded. Values that the
recipe leaves open are chosen on the cluster from its resources. The package must be installed on
the nodes, with `fastdfkd` on the PATH of the head.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omegaconf import OmegaConf

from fastdfkd.addresses import ray_token
from fastdfkd.addresses.credentials import HINT, configured_uri, subprocess_variables
from fastdfkd.addresses.probe import Kind, probe
from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.source_texts import SOURCES_VARIABLE, packed

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Address of the dashboard of a head on this machine, or behind an SSH tunnel."""

RECIPE_VARIABLE = "FASTDFKD_RECIPE"
"""Environment variable of the job that holds its recipe as YAML."""

STOP_S = 60
"""Seconds that a stopped job has to end before Ray kills it. Ray's default of 3 is too short to
close the MLflow run and release the actors."""

_TIMEOUT_S = 5.0
_GIVE_DASHBOARD = f"Give the HTTP address of the head's dashboard, such as {DEFAULT_ADDRESS}"
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class SubmissionError(OSError):
    """The cluster did not accept the job; the message says where, why and what to do."""


def submit(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    address: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> tuple[JobSubmissionClient, str]:
    """Submit a recipe to a cluster as a job. Warns if the job's MLflow server needs credentials.

    Args:
        source: a recipe, the name of an included recipe, or a local recipe file.
        overrides: dotted overrides of its values.
        address: HTTP address of the cluster's job server; unset: `RAY_API_SERVER_ADDRESS`, else
            `DEFAULT_ADDRESS`.
        out: the run's folder on the cluster, absolute; unset: `runs/<recipe>-<time>/` under the
            folder in which the head was started.
        overwrite: replace a run that is already in `out`.

    Returns:
        The job client and the job's id, for `Follower`.

    Raises:
        RecipeError: the recipe is invalid; nothing was sent.
        ValueError: `address` is not an HTTP address, or `out` is not absolute.
        SubmissionError: the cluster does not answer, or refuses the token or the job.
    """
    recipe = load_recipe(source, overrides)
    command = entrypoint(out, overwrite=overwrite)
    if (warning := credentials_warning(recipe)) is not None:
        log.warning(warning)
    client = connect(address)
    with _clear_errors(client.get_address()):
        job = client.submit_job(
            entrypoint=command,
            runtime_env={"env_vars": environment(recipe)},
            metadata={"recipe": recipe.name, "recipe_digest": recipe.digest()},
        )
    return client, job


def entrypoint(out: str | Path | None, *, overwrite: bool = False) -> str:
    """The job's shell command.

    Raises:
        ValueError: `out` is relative; the working folder of the head is unknown here.
    """
    words = ["fastdfkd", "distill", "-"]
    if out is not None:
        if not PurePosixPath(out).is_absolute():
            raise ValueError(
                f"--out {out}: expected an absolute folder of the cluster; give one that all "
                "nodes share"
            )
        words += ["--out", str(out)]
    if overwrite:
        words.append("--overwrite")
    return f"printf '%s' \"${RECIPE_VARIABLE}\" | {shlex.join(words)}"


def environment(recipe: Recipe) -> dict[str, str]:
    """The job's environment variables: its recipe and files, its time to end, the MLflow server.

    The server is passed on only if its URI is HTTP, and without credentials, because the dashboard
    shows a job's environment.

    Raises:
        RecipeError: a Python file of the recipe cannot be read, or is too long.
        ValueError: MLflow cannot use `MLFLOW_TRACKING_URI`.
    """
    values_set = OmegaConf.create(recipe.literal(unset=False))
    values = {
        RECIPE_VARIABLE: OmegaConf.to_yaml(values_set),
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
    }
    if texts := recipe.source_texts():
        values[SOURCES_VARIABLE] = packed(texts)
    server = configured_uri()
    if server.startswith(("http://", "https://")):
        values["MLFLOW_TRACKING_URI"] = server
    return values


def credentials_warning(recipe: Recipe) -> str | None:
    """A warning that the job does not get the MLflow server's credentials; None if it has none."""
    server = configured_uri(recipe.tracking.uri)
    if not subprocess_variables(server):
        return None
    return (
        f"the credentials of {server} are not sent, because everyone who sees the dashboard can "
        f"read a job's environment: set {HINT} of `ray start` on the head"
    )


def connect(address: str | None = None) -> JobSubmissionClient:
    """A client of the job server at `address`, which defaults as in `submit`.

    Raises:
        ValueError: it is not an HTTP address.
        SubmissionError: no cluster answers there, or the token is missing or wrong.
    """
    address = (address or os.environ.get(_ADDRESS_VARIABLES[0]) or DEFAULT_ADDRESS).rstrip("/")
    if not _is_http(address):
        raise ValueError(
            f"--address {address}: expected the HTTP address of the head's dashboard, such as "
            f"{DEFAULT_ADDRESS}, with a port from 1 to 65535"
        )
    _check_reachable(address)
    from ray.job_submission import JobSubmissionClient

    with _clear_errors(address), _without(_ADDRESS_VARIABLES):
        return JobSubmissionClient(address)


def _is_http(address: str) -> bool:
    """Whether it is an HTTP address with a host, and with a port that can exist if it has one."""
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number below 65,536, or a bracket is open
        return False


def _check_reachable(address: str) -> None:
    """Check that a dashboard answers within `_TIMEOUT_S`; Ray's client would wait without limit.

    If it asks for a token, enables the one that Ray finds.
    """
    import requests

    try:
        answer = requests.get(f"{address}/api/version", timeout=_TIMEOUT_S)
    except requests.exceptions.RequestException as error:
        raise SubmissionError(
            f"no Ray cluster answers at {address} ({_reason(error)}): {_port_hint(address)}start "
            "one with `ray start --head`, open a tunnel to its dashboard, or give another "
            "--address"
        ) from error
    if answer.status_code in (401, 403):
        ray_token.enable_if_unset()
    elif answer.status_code < 500 and "ray_version" not in answer.text:
        raise SubmissionError(
            f"no Ray cluster answers at {address}: a web server answers (status "
            f"{answer.status_code}), but it is not a Ray dashboard. {_GIVE_DASHBOARD}"
        )


def _port_hint(address: str) -> str:
    """A hint if another port of a Ray cluster was given instead of its dashboard's; else ""."""
    parts = urlsplit(address)
    if not parts.hostname or not parts.port:
        return ""
    kind = probe(parts.hostname, parts.port).kind
    if kind in (Kind.HEAD, Kind.TOKEN_REQUIRED, Kind.CLIENT_SERVER, Kind.RPC):
        return f"it is another port of a cluster, not its dashboard. {_GIVE_DASHBOARD}; or "
    return ""


def _reason(error: BaseException) -> str:
    """The innermost cause of an error, such as `Connection refused`."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


@contextmanager
def _clear_errors(address: str) -> Iterator[None]:
    """Turn errors of Ray's job client into a `SubmissionError`."""
    from ray.exceptions import AuthenticationError
    from requests.exceptions import RequestException

    try:
        yield
    except AuthenticationError as error:
        reason = str(error).split("\n", 1)[0]
        raise SubmissionError(f"{address} denies access ({reason}): {ray_token.HINT}") from error
    except (RuntimeError, RequestException, ConnectionError) as error:
        raise SubmissionError(f"{address} did not accept the request: {error}") from error


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Unset environment variables during the block: Ray prefers them to its arguments."""
    removed = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)
