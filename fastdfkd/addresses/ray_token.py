"""The token that a Ray cluster may require from its clients.

Ray reads it from `RAY_AUTH_TOKEN`, from the file named by `RAY_AUTH_TOKEN_PATH`, or from
`~/.ray/auth_token`, and sends it only with `RAY_AUTH_MODE=token`.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

MODE = "RAY_AUTH_MODE"
HINT = (
    "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file with the cluster's token (on the "
    "head: `ray get-auth-token`)"
)


def _raylet() -> Any:
    """Ray's compiled module, which has no type hints; only it can read tokens."""
    return importlib.import_module("ray._raylet")


def source() -> str:
    """The variable or file that Ray reads its token from first."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"


def available() -> bool:
    """Whether Ray finds a token, whatever `RAY_AUTH_MODE` is."""
    try:
        return bool(_raylet().AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    except Exception:  # `RAY_AUTH_TOKEN_PATH` is missing or empty
        return False


def enable_if_unset() -> bool:
    """Have Ray send its token, if it finds one and `RAY_AUTH_MODE` is unset; return whether so."""
    if os.environ.get(MODE) or not available():
        return False
    os.environ[MODE] = "token"
    _raylet().Config.initialize("")  # read again: Ray read the environment when it was imported
    _raylet().AuthenticationTokenLoader.instance().reset_cache()
    return True


def headers() -> dict[str, str]:
    """HTTP headers with Ray's token; empty if Ray sends none."""
    ray = _raylet()
    if ray.get_authentication_mode() != ray.AuthenticationMode.TOKEN or not available():
        return {}
    return dict(ray.AuthenticationTokenLoader.instance().get_token_for_http_header())


def denial_reason() -> str:
    """Why a cluster denied access, and what to set."""
    mode = os.environ.get(MODE, "")
    if mode.lower() not in ("", "token"):
        return f"it requires a token, but RAY_AUTH_MODE={mode} sends none: {HINT}"
    if available():
        return f"the token in {source()} is not the cluster's: {HINT}"
    return f"it requires a token, but none is in {source()}: {HINT}"
