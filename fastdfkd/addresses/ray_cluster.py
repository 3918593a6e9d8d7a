"""Check the address of a Ray cluster, before Ray waits for minutes at a wrong one."""

from __future__ import annotations

import os
import re

from fastdfkd.addresses import ray_token
from fastdfkd.addresses.probe import Answer, Kind, probe

_START_ONE = "Start one with `ray start --head`, or leave the address out to run on this machine"
_FORMS = (
    "expected HOST:PORT of the cluster's head, such as 127.0.0.1:6379, or auto, or "
    "ray://HOST:10001 for Ray Client"
)
_PORTS = {"ray": "10001", "http": "80", "https": "443"}


def resolve_address(address: str | None) -> str | None:
    """The address to join: `address`, else `RAY_ADDRESS`; None: start Ray on this machine.

    `RAY_ADDRESS` also replaces `auto`, as in Ray itself.
    """
    if address in (None, "", "auto"):
        address = os.environ.get("RAY_ADDRESS") or address
    return None if address in (None, "", "local") else address


def check(address: str) -> None:
    """Check that a cluster answers at an address and grants access.

    If it asks for a token, enables the one that Ray finds.

    Raises:
        ValueError: it is not an address of a cluster.
        ConnectionError: no head (for `ray://` no Ray Client server) answers there, or it denies
            access or runs another version of Ray. The message says what answers and what to do.
    """
    scheme, host, port = _parts(_local_cluster() if address == "auto" else address)
    answer = probe(host, port, ray_token.headers())
    if answer.kind is Kind.TOKEN_REQUIRED and ray_token.enable_if_unset():
        answer = probe(host, port, ray_token.headers())
    if answer.kind is Kind.TOKEN_REQUIRED:
        raise ConnectionError(
            f"the Ray cluster at {address} denies access: {ray_token.denial_reason()}"
        )
    if answer.kind is Kind.HEAD and scheme:
        raise ValueError(f"the Ray address {address}: give it as {host}:{port}")
    if answer.kind is not (Kind.CLIENT_SERVER if scheme == "ray" else Kind.HEAD):
        raise ConnectionError(f"no Ray cluster answers at {address}: {_reason(answer, host, port)}")
    _check_version(address, answer.detail)


def check_named(address: str | None) -> None:
    """`check` the address that a user named, before other work; `auto` is resolved on joining."""
    named = resolve_address(address)
    if named and named != "auto":
        check(named)


def _parts(address: str) -> tuple[str, str, int]:
    """Scheme (`ray`, `http`, `https` or empty), host and port."""
    match = re.fullmatch(
        r"(?:(ray|https?)://)?(?:\[([^\[\]]+)\]|([^\[\]/:]+))(?::(\d{1,5}))?/?.*", address
    )
    port = match and (match[4] or _PORTS.get(match[1]))
    if match is None or port is None or not 0 < int(port) < 65536:
        raise ValueError(f"the Ray address {address}: {_FORMS}")
    return match[1] or "", match[2] or match[3], int(port)


def _local_cluster() -> str:
    """The address that Ray finds on this machine for `auto`."""
    from ray._private.services import get_ray_address_from_environment

    try:
        return str(get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        raise ConnectionError(
            f"no Ray cluster answers at auto: none runs on this machine. {_START_ONE}"
        ) from error


def _reason(answer: Answer, host: str, port: int) -> str:
    head = f"--address {host}:6379, or the port that `ray start --head` printed"
    return {
        Kind.NONE: f"{answer.detail}. {_START_ONE}",
        Kind.UNKNOWN: f"a service that is not Ray's head accepts connections there. Give {head}",
        Kind.CLIENT_SERVER: f"that is the port of Ray Client. Give {head}; or ray://{host}:{port}",
        Kind.DASHBOARD: f"that is a cluster's dashboard. Give {head}; or submit the run as a job "
        f"with `fastdfkd submit --address http://{host}:{port}`",
        Kind.WEB: f"a web server that is not Ray's answers there. Give {head}",
        Kind.RPC: f"another gRPC service answers there. Give {head}",
    }[answer.kind]


def _check_version(address: str, version: str) -> None:
    import ray

    if version and version != ray.__version__:
        raise ConnectionError(
            f"the cluster at {address} runs Ray {version}, but Ray {ray.__version__} is installed "
            "here: install the same version on both"
        )
