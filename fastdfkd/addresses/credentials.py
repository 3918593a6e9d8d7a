"""Credentials of MLflow stores, kept only in this process's memory and environment.

Credentials in a URI (a recipe's `tracking.uri`, `MLFLOW_TRACKING_URI`) are removed where the URI is
read. Recipes, files, messages, MLflow and Ray get the bare URI; this module maps it to the full
one. A resumed run needs the credentials in the environment.
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
_full_uris: dict[str, str] = {}
"""Full URI by bare URI, of those that hold credentials."""
_replaced: dict[str, str | None] = {}
"""Values of the environment variables that `set_login_variables` replaced; None: unset."""


def strip_credentials(uri: str) -> str:
    """The bare URI: without user, password and secret parameters, for `login_variables` to use.

    Raises:
        ValueError: MLflow could not use the URI. The message does not repeat it, because it may
            contain parts of a password.
    """
    bare = _bare(uri)
    if _is_http(uri):
        _check_server(uri, bare)
    if bare != uri:
        _full_uris[bare] = uri
    return bare


def configured_uri(uri: str | None = None) -> str:
    """`uri`, else `MLFLOW_TRACKING_URI`, without credentials; empty if neither is set.

    Raises:
        ValueError: MLflow could not use it.
    """
    try:
        return strip_credentials(uri or os.environ.get(URI, ""))
    except ValueError as error:
        raise ValueError(f"{'the store' if uri else URI}: {error}") from None


def login_variables(bare: str) -> dict[str, str]:
    """Environment variables that MLflow needs to reach the store of a bare URI.

    Credentials come from a URI that this process read, else from `MLFLOW_TRACKING_URI` if it names
    the same server. Empty if neither holds any; `MLFLOW_TRACKING_USERNAME` and the like then apply
    as they are.
    """
    full = _full_uris.get(bare) or os.environ.get(URI, "")
    if full == bare or _store_of(full) != _store_of(bare):
        return {}
    if not _is_http(bare):
        return {URI: full}
    user, colon, password = _user(full).partition(":")
    return {USER: unquote(user), PASSWORD: unquote(password)} if colon else {}


def set_login_variables(bare: str) -> None:
    """Set MLflow's environment variables for a server; restore those set for another one."""
    variables = login_variables(bare) if _is_http(bare) else {}
    if variables and variables.items() <= os.environ.items():
        return  # never unset them in between: another thread may be using them
    for name, before in _replaced.items():
        _set(name, before)
    _replaced.clear()
    for name, value in variables.items():
        _replaced[name] = os.environ.get(name)
        _set(name, value)


def subprocess_variables(bare: str) -> dict[str, str]:
    """Environment variables that another process needs for the same store.

    Pass them as the argument of a call only: Ray shows the environments of jobs and actors.
    """
    here = {name: os.environ[name] for name in (USER, PASSWORD, TOKEN) if name in os.environ}
    return here | login_variables(bare) if _is_http(bare) else login_variables(bare)


def with_credentials(bare: str) -> str:
    """The URI that opens a store; a database's includes its password, a server's does not."""
    return login_variables(bare).get(URI, bare)


def clear_command_line() -> None:
    """Restart this process if its `tracking.uri=` argument holds credentials, without them.

    They move to the environment. All users of the machine can read a command line, and Ray stores
    and shows a driver's.
    """
    variables: dict[str, str] = {}

    def without_login(uri: re.Match[str]) -> str:
        bare = strip_credentials(uri[0])
        variables.update(login_variables(bare))
        return bare

    try:
        words = [
            _ADDRESS.sub(without_login, word) if word.startswith("tracking") else word
            for word in sys.orig_argv
        ]
    except ValueError:  # reported when the recipe is read
        return
    if words != sys.orig_argv:
        os.execve(sys.executable, words, {**os.environ, **variables})


def _bare(uri: str) -> str:
    def without_secret(parameter: re.Match[str]) -> str:
        return "" if names_a_secret(parameter[1]) else parameter[0]

    start, mark, query = _USER.sub(r"\1", uri).partition("?")
    kept = _PARAMETER.sub(without_secret, mark + query)
    return f"{start}?{kept[1:]}" if kept[1:] else start


def _user(uri: str) -> str:
    """`user:password` of a URI, still percent-encoded; empty if it has none."""
    match = _USER.match(uri)
    return match[2] if match else ""


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


def _store_of(uri: str) -> str:
    """A key that URIs of the same store share: scheme, host and port, or a database's bare URI."""
    bare = _bare(uri)
    return "//".join(urlsplit(bare)[:2]).lower() if _is_http(bare) else bare


def _is_http(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
