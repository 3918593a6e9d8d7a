"""The address of a Ray cluster as users give it, looked at before Ray waits for it."""

from __future__ import annotations

import os
import re

from fastdfkd.addresses import ray_token
from fastdfkd.addresses.probe import Answer, Kind, who_answers

_ELSE = "Start one with `ray start --head`, or leave the address out to run on this machine"
_FORMS = (
    "expected HOST:PORT of the cluster's head, such as 127.0.0.1:6379, or auto, or "
    "ray://HOST:10001 for Ray Client"
)
_PORTS = {"ray": "10001", "http": "80", "https": "443"}


def wanted(address: str | None) -> str | None:
    """The address to join: `address`, else `RAY_ADDRESS`; None for a Ray of our own.

    Ray itself puts `RAY_ADDRESS` before `auto`.
    """
    if address in (None, "", "auto"):
        address = os.environ.get("RAY_ADDRESS") or address
    return None if address in (None, "", "local") else address


def check(address: str) -> None:
    """See that a cluster answers at an address and lets us in; sends the token at hand if asked.

    Raises:
        ValueError: it is no address.
        ConnectionError: no head answers there (for `ray://` no server of Ray Client), or it refuses
            us. Says who does answer, and what to set.
    """
    scheme, host, port = _parts(_found_here() if address == "auto" else address)
    answer = who_answers(host, port, ray_token.headers())
    if answer.kind is Kind.LOCKED and ray_token.use_if_unasked():
        answer = who_answers(host, port, ray_token.headers())
    if answer.kind is Kind.LOCKED:
        raise ConnectionError(f"the Ray cluster at {address} refuses us: {ray_token.why_refused()}")
    if answer.kind is Kind.HEAD and scheme:
        raise ValueError(f"the Ray address {address}: give it as {host}:{port}")
    if answer.kind is not (Kind.CLIENT_SERVER if scheme == "ray" else Kind.HEAD):
        raise ConnectionError(f"no Ray cluster answers at {address}: {_why(answer, host, port)}")
    _check_version(address, answer.said)


def check_named(address: str | None) -> None:
    """`check` of what a user named, before work is spent; `auto` is looked for on joining."""
    named = wanted(address)
    if named and named != "auto":
        check(named)


def _parts(address: str) -> tuple[str, str, int]:
    """Scheme (`ray`, `http`, `https` or none), host and port."""
    found = re.fullmatch(
        r"(?:(ray|https?)://)?(?:\[([^\[\]]+)\]|([^\[\]/:]+))(?::(\d{1,5}))?/?.*", address
    )
    port = found and (found[4] or _PORTS.get(found[1]))
    if found is None or port is None or not 0 < int(port) < 65536:
        raise ValueError(f"the Ray address {address}: {_FORMS}")
    return found[1] or "", found[2] or found[3], int(port)


def _found_here() -> str:
    """The cluster of this machine, as Ray finds it for `auto`."""
    from ray._private.services import get_ray_address_from_environment

    try:
        return str(get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        raise ConnectionError(f"no Ray cluster answers at auto: none runs here. {_ELSE}") from error


def _why(answer: Answer, host: str, port: int) -> str:
    head = f"--address {host}:6379, or whatever port `ray start --head` named"
    return {
        Kind.NOBODY: f"{answer.said}. {_ELSE}",
        Kind.SILENT: f"something accepts connections there, and it is not Ray's head. Give {head}",
        Kind.CLIENT_SERVER: f"that is the port of Ray Client. Give {head}; or ray://{host}:{port}",
        Kind.DASHBOARD: f"that is a cluster's dashboard. Give {head}; or hand the run in with "
        f"`fastdfkd submit --address http://{host}:{port}`",
        Kind.WEB: f"a web server answers there, and it is not Ray's. Give {head}",
        Kind.RPC: f"another gRPC service answers there. Give {head}",
    }[answer.kind]


def _check_version(address: str, theirs: str) -> None:
    import ray

    if theirs and theirs != ray.__version__:
        raise ConnectionError(
            f"the cluster at {address} runs Ray {theirs}, and Ray {ray.__version__} is installed "
            "here: install the same version on both"
        )
