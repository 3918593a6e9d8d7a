"""The token that a Ray cluster may want of whoever joins it.

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
    """Ray's compiled module: the reading of tokens is nowhere else, and it has no types."""
    return importlib.import_module("ray._raylet")


def place() -> str:
    """Where Ray looks for a token first."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"


def at_hand() -> bool:
    """Whether a token is there, whatever the mode says."""
    try:
        return bool(_raylet().AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    except Exception:  # a named file that is missing or empty
        return False


def use_if_unasked() -> bool:
    """Have Ray send the token at hand, unless `RAY_AUTH_MODE` says what to do; whether it will."""
    if os.environ.get(MODE) or not at_hand():
        return False
    os.environ[MODE] = "token"
    _raylet().Config.initialize("")  # Ray has read the environment when it was imported
    _raylet().AuthenticationTokenLoader.instance().reset_cache()
    return True


def headers() -> dict[str, str]:
    """What Ray sends with every request; empty where it sends no token."""
    ray = _raylet()
    if ray.get_authentication_mode() != ray.AuthenticationMode.TOKEN or not at_hand():
        return {}
    return dict(ray.AuthenticationTokenLoader.instance().get_token_for_http_header())


def why_refused() -> str:
    """What is wrong with what we sent, and what to set."""
    mode = os.environ.get(MODE, "")
    if mode.lower() not in ("", "token"):
        return f"it wants a token, and RAY_AUTH_MODE={mode} sends none: {HINT}"
    if at_hand():
        return f"the token in {place()} is not the cluster's: {HINT}"
    return f"it wants a token, and none is in {place()}: {HINT}"
