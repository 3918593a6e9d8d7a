"""A recipe as a job of a Ray cluster: hand it in, follow its log, and end as it ended.

    fastdfkd submit RECIPE --address http://127.0.0.1:8265

The recipe is read and checked here. What goes to the cluster is its text with all changes, in an
environment variable of the job, which `fastdfkd distill -` reads from a pipe, and in another one
the Python files that it names (`file.py:builder`): no checkout is shipped. What the recipe leaves
open stays open, because the cluster's resources decide it. The package must be installed on the
nodes, with `fastdfkd` on the PATH of the head.
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
from fastdfkd.addresses.credentials import HINT, configured_uri, for_another_process
from fastdfkd.addresses.probe import Kind, who_answers
from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.source_texts import SOURCES_VARIABLE, packed, texts_of

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Where the dashboard of a head on this machine (or behind an SSH tunnel) answers."""

RECIPE_VARIABLE = "FASTDFKD_RECIPE"
"""Environment variable of the job that holds its recipe as YAML."""

STOP_S = 60
"""Seconds that a job may take to end once it is told to: Ray's own 3 are too few for a run to close
its MLflow run and to give back its actors; what is left after them is killed."""

_ANSWER_S = 5.0
_DASHBOARD = f"Give the HTTP address of the head's dashboard, such as {DEFAULT_ADDRESS}"
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class SubmissionError(OSError):
    """The cluster did not take the job. Says where, why and what to do."""


def submit(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    address: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> tuple[JobSubmissionClient, str]:
    """Hand a recipe to a cluster as a job. A warning tells where MLflow's server wants credentials.

    Args:
        source: a recipe file here, the name of one that ships, or a recipe.
        overrides: dotted changes to it.
        address: HTTP address of the cluster's job server; unset: `RAY_API_SERVER_ADDRESS`, else
            `DEFAULT_ADDRESS`.
        out: folder of the run on the cluster, absolute; unset: `runs/<recipe>-<time>/` under the
            folder in which the head was started.
        overwrite: replace the run that is in `out`.

    Returns:
        The client to follow the job with, and the job's id.

    Raises:
        RecipeError: the recipe cannot be used; nothing was sent.
        ValueError: `address` is no HTTP address, or `out` is not absolute.
        SubmissionError: the cluster does not answer, or refuses the token or the job.
    """
    recipe = load_recipe(source, overrides)
    command = entrypoint(out, overwrite=overwrite)
    if (missing := kept_back(recipe)) is not None:
        log.warning(missing)
    client = connect(address)
    with _refusals_explained(client.get_address()):
        job = client.submit_job(
            entrypoint=command,
            runtime_env={"env_vars": environment(recipe)},
            metadata={"recipe": recipe.name, "recipe_digest": recipe.digest()},
        )
    return client, job


def entrypoint(out: str | Path | None, *, overwrite: bool = False) -> str:
    """The job's shell command, for the shell of the head.

    Raises:
        ValueError: `out` is relative: nobody here knows the head's folder.
    """
    words = ["fastdfkd", "distill", "-"]
    if out is not None:
        if not PurePosixPath(out).is_absolute():
            raise ValueError(
                f"--out {out}: name an absolute folder of the cluster, best one that every node "
                "shares"
            )
        words += ["--out", str(out)]
    if overwrite:
        words.append("--overwrite")
    return f"printf '%s' \"${RECIPE_VARIABLE}\" | {shlex.join(words)}"


def environment(recipe: Recipe) -> dict[str, str]:
    """Environment of the job: its recipe and files, time to end, and this user's MLflow server.

    The server only if it is reached by HTTP, and without credentials: a job's environment can be
    read in the dashboard.

    Raises:
        RecipeError: a Python file of the recipe's cannot be read, or is too long.
        ValueError: `MLFLOW_TRACKING_URI` is none that MLflow can use.
    """
    named = OmegaConf.create(recipe.literal(unset=False))
    values = {RECIPE_VARIABLE: OmegaConf.to_yaml(named), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}
    if texts := texts_of(recipe):
        values[SOURCES_VARIABLE] = packed(texts)
    server = configured_uri()
    if server.startswith(("http://", "https://")):
        values["MLFLOW_TRACKING_URI"] = server
    return values


def kept_back(recipe: Recipe) -> str | None:
    """What the job's MLflow server wants and the job is not given; None where that is nothing."""
    server = configured_uri(recipe.tracking.uri)
    if not for_another_process(server):
        return None
    return (
        f"the credentials of {server} stay here, because everyone who sees the dashboard can read "
        f"a job's environment: the job finds {HINT} of `ray start` on the head"
    )


def connect(address: str | None = None) -> JobSubmissionClient:
    """A client of the job server at `address`.

    Raises:
        ValueError: it is no HTTP address.
        SubmissionError: nobody answers there, or the token is missing or wrong.
    """
    address = (address or os.environ.get(_ADDRESS_VARIABLES[0]) or DEFAULT_ADDRESS).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise ValueError(
            f"--address {address}: expected the HTTP address of the head's dashboard, such as "
            f"{DEFAULT_ADDRESS}"
        )
    _check_reachable(address)
    from ray.job_submission import JobSubmissionClient

    with _refusals_explained(address), _without(_ADDRESS_VARIABLES):
        return JobSubmissionClient(address)


def _check_reachable(address: str) -> None:
    """Ray's own client waits without a limit. Its token at hand is sent where one is wanted."""
    import requests

    try:
        answer = requests.get(f"{address}/api/version", timeout=_ANSWER_S)
    except requests.exceptions.RequestException as error:
        raise SubmissionError(
            f"no Ray cluster answers at {address} ({_reason(error)}): {_who(address)}start one "
            "with `ray start --head`, open a tunnel to its dashboard, or name another with "
            "--address"
        ) from error
    if answer.status_code in (401, 403):
        ray_token.use_if_unasked()
    elif answer.status_code < 500 and "ray_version" not in answer.text:
        raise SubmissionError(
            f"no Ray cluster answers at {address}: a web server does (it said "
            f"{answer.status_code}), and it is not a dashboard of Ray's. {_DASHBOARD}"
        )


def _who(address: str) -> str:
    """A hint where a part of Ray that is no dashboard answers."""
    parts = urlsplit(address)
    if not parts.hostname or not parts.port:
        return ""
    kind = who_answers(parts.hostname, parts.port).kind
    if kind in (Kind.HEAD, Kind.LOCKED, Kind.CLIENT_SERVER, Kind.RPC):
        return f"a cluster's own port is there, not its dashboard. {_DASHBOARD}; or "
    return ""


def _reason(error: BaseException) -> str:
    """The innermost reason, such as `Connection refused`."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


@contextmanager
def _refusals_explained(address: str) -> Iterator[None]:
    from ray.exceptions import AuthenticationError
    from requests.exceptions import RequestException

    try:
        yield
    except AuthenticationError as error:
        said = str(error).split("\n", 1)[0]
        raise SubmissionError(f"{address} does not let us in ({said}): {ray_token.HINT}") from error
    except (RuntimeError, RequestException, ConnectionError) as error:
        raise SubmissionError(f"{address} did not take the request: {error}") from error


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Run a block without some environment variables, which Ray puts before its arguments."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
