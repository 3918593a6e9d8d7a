"""Users and passwords of MLflow stores: in this process's memory and environment, nowhere else.

A URI that holds some is taken apart where it comes in (a recipe's `tracking.uri`,
`MLFLOW_TRACKING_URI`). Recipes, files, messages, MLflow and Ray see what is left of it; what was
taken out is kept here by it. A resumed run finds it in the environment.
"""

from __future__ import annotations

import os
import re
import sys
from urllib.parse import unquote, urlsplit

from fastdfkd.text.shown import names_a_secret

URI = "MLFLOW_TRACKING_URI"
USER, PASSWORD, TOKEN = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
HINT = f"{USER} and {PASSWORD}, or {TOKEN}, in the environment"

_USER = re.compile(r"^([\w+.-]+://)([^/@:]*(?::[^@]*)?)@")
_ADDRESS = re.compile(r"[\w+.-]+://[^\s'\"}]+")
_PARAMETER = re.compile(r"[?&]([^=&#]*)=[^&#]*")
_given: dict[str, str] = {}
_replaced: dict[str, str | None] = {}


def taken_out(uri: str) -> str:
    """A URI without user, password and secret parameters, which are remembered for `login`.

    Raises:
        ValueError: MLflow could not use it, and parts of a password may be where none is looked
            for. The message does not repeat it.
    """
    bare = _bare(uri)
    if _is_http(uri):
        _check_server(uri, bare)
    if bare != uri:
        _given[bare] = uri
    return bare


def configured_uri(uri: str | None = None) -> str:
    """`uri`, else `MLFLOW_TRACKING_URI`, without credentials; empty where neither is set.

    Raises:
        ValueError: MLflow could not use it.
    """
    try:
        return taken_out(uri or os.environ.get(URI, ""))
    except ValueError as error:
        raise ValueError(f"{'the store' if uri else URI}: {error}") from None


def login(bare: str) -> dict[str, str]:
    """Environment variables with which MLflow reaches the store of a URI that was taken apart.

    From a URI of this process, else from `MLFLOW_TRACKING_URI` where it names the same server.
    Empty: it needs none, or `MLFLOW_TRACKING_USERNAME` and the like are set as they are.
    """
    said = _given.get(bare) or os.environ.get(URI, "")
    if said == bare or _place(said) != _place(bare):
        return {}
    if not _is_http(bare):
        return {URI: said}
    user, colon, password = _user(said).partition(":")
    return {USER: unquote(user), PASSWORD: unquote(password)} if colon else {}


def log_in(bare: str) -> None:
    """Set the environment for the server of a URI, as MLflow reads it; another server's goes."""
    wanted = login(bare) if _is_http(bare) else {}
    if wanted and wanted.items() <= os.environ.items():
        return  # no moment without them: another thread may be writing
    for name, before in _replaced.items():
        _set(name, before)
    _replaced.clear()
    for name, value in wanted.items():
        _replaced[name] = os.environ.get(name)
        _set(name, value)


def for_another_process(bare: str) -> dict[str, str]:
    """Environment variables that a process elsewhere needs for the same store.

    They are for an argument of a call alone: environments of jobs and actors are shown by Ray.
    """
    here = {name: os.environ[name] for name in (USER, PASSWORD, TOKEN) if name in os.environ}
    return here | login(bare) if _is_http(bare) else login(bare)


def whole(bare: str) -> str:
    """The URI that opens a store: a database takes its password from nowhere else."""
    return login(bare).get(URI, bare)


def clear_command_line() -> None:
    """Begin this process again where its `tracking.uri=` holds credentials, without them.

    They go into the environment. Everyone on the machine sees a command line, and Ray keeps a
    driver's and shows it.
    """
    found: dict[str, str] = {}

    def moved(uri: re.Match[str]) -> str:
        bare = taken_out(uri[0])
        found.update(login(bare))
        return bare

    try:
        words = [
            _ADDRESS.sub(moved, word) if word.startswith("tracking") else word
            for word in sys.orig_argv
        ]
    except ValueError:  # said where the recipe is read
        return
    if words != sys.orig_argv:
        os.execve(sys.executable, words, {**os.environ, **found})


def _bare(uri: str) -> str:
    def without(parameter: re.Match[str]) -> str:
        return "" if names_a_secret(parameter[1]) else parameter[0]

    start, mark, query = _USER.sub(r"\1", uri).partition("?")
    kept = _PARAMETER.sub(without, mark + query)
    return f"{start}?{kept[1:]}" if kept[1:] else start


def _user(uri: str) -> str:
    """`user:password` of a URI, as it stands there."""
    found = _USER.match(uri)
    return found[2] if found else ""


def _check_server(uri: str, bare: str) -> None:
    rest = urlsplit(bare)
    user = _user(uri)
    if "@" in bare or not {"/", "?", "#"}.isdisjoint(user):
        raise ValueError("expected /, ?, # and @ in a password as %2F, %3F, %23 and %40")
    if "?" in uri or rest.fragment:
        raise ValueError(
            f"expected the server's address without ? and #, which MLflow cannot send: give {HINT}"
        )
    if user and not all(user.partition(":")):
        raise ValueError(f"expected user and password, or neither and {HINT}")
    try:
        _ = rest.port
    except ValueError:
        raise ValueError("expected http://HOST:PORT, with a number as the port") from None


def _place(uri: str) -> str:
    """What two URIs of one store share: of a server, scheme, host and port."""
    bare = _bare(uri)
    return "//".join(urlsplit(bare)[:2]).lower() if _is_http(bare) else bare


def _is_http(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
