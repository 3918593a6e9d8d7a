"""Who answers at an address that a user gave for a Ray cluster.

Ray itself waits for minutes for an answer that will never come, and then says little.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

SECONDS = 3.0
"""Each question waits at most so long; there are up to four."""

_ASK = "GET /api/version HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
_MOST_BYTES = 4096
_SETTINGS_FRAME = 4  # HTTP/2's first, which gRPC servers send unasked; RFC 9113, 6.5


class Kind(Enum):
    """Who it is."""

    NOBODY = auto()
    SILENT = auto()
    """Accepts connections and says nothing that we know."""
    HEAD = auto()
    """The head of a Ray cluster (its GCS), and it lets us in."""
    LOCKED = auto()
    """A part of Ray that wants a token, or another one."""
    CLIENT_SERVER = auto()
    """Ray Client's."""
    DASHBOARD = auto()
    WEB = auto()
    """A web server that is not Ray's."""
    RPC = auto()
    """A gRPC server that is no head."""


@dataclass(frozen=True)
class Answer:
    """Who answers, and what more was said."""

    kind: Kind
    said: str = ""
    """Of `NOBODY` the reason, of `HEAD` its version of Ray."""


def who_answers(host: str, port: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask within seconds; `headers` carry the token for Ray."""
    try:
        first = _first_bytes(host, port)
    except OSError as error:
        return Answer(Kind.NOBODY, error.strerror or str(error) or type(error).__name__)
    if first.startswith(b"HTTP/1."):
        return Answer(Kind.DASHBOARD if _is_rays(first) else Kind.WEB)
    if len(first) > 3 and first[3] != _SETTINGS_FRAME:
        return Answer(Kind.SILENT)
    return _by_rpc(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", headers or {})


def _first_bytes(host: str, port: int) -> bytes:
    """What comes back on a web request; empty where nothing does."""
    with socket.create_connection((host, port), timeout=SECONDS) as line:
        try:
            line.sendall(_ASK.format(host).encode())
            said = b""
            while len(said) < _MOST_BYTES and (part := line.recv(_MOST_BYTES)):
                said += part
                if not said.startswith(b"HTTP/1."[: len(said)]):
                    break
        except OSError:  # it waits, or has hung up
            pass
        return said


def _is_rays(said: bytes) -> bool:
    return b'"ray_version"' in said or b"uthentication token" in said


def _by_rpc(target: str, headers: Mapping[str, str]) -> Answer:
    import grpc
    from ray.core.generated.gcs_service_pb2 import CheckAliveReply, CheckAliveRequest
    from ray.core.generated.ray_client_pb2 import (
        ClusterInfoRequest,
        ClusterInfoResponse,
        ClusterInfoType,
    )

    code = grpc.StatusCode
    metadata = tuple((key.lower(), value) for key, value in headers.items())

    def ask(method: str, request: Any, answer: Callable[[bytes], Any]) -> tuple[Any, Any]:
        call = channel.unary_unary(method, type(request).SerializeToString, answer)
        try:
            return code.OK, call(request, timeout=SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return error.code(), None

    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        alive = "/ray.rpc.NodeInfoGcsService/CheckAlive"
        found, reply = ask(alive, CheckAliveRequest(), CheckAliveReply.FromString)
        if found is code.OK:
            return Answer(Kind.HEAD, reply.ray_version)
        if found is code.UNAUTHENTICATED:
            return Answer(Kind.LOCKED)
        if found is not code.UNIMPLEMENTED:
            return Answer(Kind.SILENT)
        ping = ClusterInfoRequest(type=ClusterInfoType.PING)
        info = "/ray.rpc.RayletDriver/ClusterInfo"
        found, _ = ask(info, ping, ClusterInfoResponse.FromString)
        if found is code.UNAUTHENTICATED:
            return Answer(Kind.LOCKED)
        return Answer(Kind.RPC if found is code.UNIMPLEMENTED else Kind.CLIENT_SERVER)
