"""Probe which service answers at an address that a user gave for a Ray cluster.

Ray itself waits for minutes at a wrong address, and its error does not name the cause.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

SECONDS = 3.0
"""Timeout of each request; a probe makes up to four."""

_REQUEST = "GET /api/version HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
_MOST_BYTES = 4096
_SETTINGS_FRAME = 4  # type of the first HTTP/2 frame that a gRPC server sends; RFC 9113, 6.5


class Kind(Enum):
    """Kind of service at an address."""

    NONE = auto()
    """No connection."""
    UNKNOWN = auto()
    """Accepts connections, but speaks no protocol that is known here."""
    HEAD = auto()
    """The head of a Ray cluster (its GCS), with access."""
    TOKEN_REQUIRED = auto()
    """A gRPC server of Ray that requires a token, or another one."""
    CLIENT_SERVER = auto()
    """The server of Ray Client."""
    DASHBOARD = auto()
    """The dashboard of a Ray cluster."""
    WEB = auto()
    """A web server that is not Ray's."""
    RPC = auto()
    """A gRPC server that is neither a head nor Ray Client's."""


@dataclass(frozen=True)
class Answer:
    """Result of a probe."""

    kind: Kind
    detail: str = ""
    """Of `NONE` the reason, of `HEAD` its version of Ray."""


def probe(host: str, port: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Find out within seconds what listens at an address.

    Args:
        host: name or IP address.
        port: TCP port.
        headers: HTTP headers with Ray's token (`ray_token.headers`).
    """
    try:
        reply = _http_reply(host, port)
    except OSError as error:
        return Answer(Kind.NONE, error.strerror or str(error) or type(error).__name__)
    if reply.startswith(b"HTTP/1."):
        return Answer(Kind.DASHBOARD if _is_dashboard(reply) else Kind.WEB)
    if len(reply) > 3 and reply[3] != _SETTINGS_FRAME:
        return Answer(Kind.UNKNOWN)
    return _probe_rpc(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", headers or {})


def _http_reply(host: str, port: int) -> bytes:
    """First bytes of the reply to an HTTP request; empty if none comes in time."""
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        reply = b""
        try:
            connection.sendall(_REQUEST.format(host).encode())
            while len(reply) < _MOST_BYTES and (part := connection.recv(_MOST_BYTES)):
                reply += part
                if not reply.startswith(b"HTTP/1."[: len(reply)]):
                    break
        except OSError:  # timed out, or the connection was closed
            pass
        return reply


def _is_dashboard(reply: bytes) -> bool:
    return b'"ray_version"' in reply or b"uthentication token" in reply


def _probe_rpc(target: str, headers: Mapping[str, str]) -> Answer:
    import grpc
    from ray.core.generated.gcs_service_pb2 import CheckAliveReply, CheckAliveRequest
    from ray.core.generated.ray_client_pb2 import (
        ClusterInfoRequest,
        ClusterInfoResponse,
        ClusterInfoType,
    )

    code = grpc.StatusCode
    metadata = tuple((key.lower(), value) for key, value in headers.items())

    def call_rpc(method: str, request: Any, parse: Callable[[bytes], Any]) -> tuple[Any, Any]:
        call = channel.unary_unary(method, type(request).SerializeToString, parse)
        try:
            return code.OK, call(request, timeout=SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return error.code(), None

    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        alive = "/ray.rpc.NodeInfoGcsService/CheckAlive"
        status, reply = call_rpc(alive, CheckAliveRequest(), CheckAliveReply.FromString)
        if status is code.OK:
            return Answer(Kind.HEAD, reply.ray_version)
        if status is code.UNAUTHENTICATED:
            return Answer(Kind.TOKEN_REQUIRED)
        if status is not code.UNIMPLEMENTED:
            return Answer(Kind.UNKNOWN)
        ping = ClusterInfoRequest(type=ClusterInfoType.PING)
        info = "/ray.rpc.RayletDriver/ClusterInfo"
        status, _ = call_rpc(info, ping, ClusterInfoResponse.FromString)
        if status is code.UNAUTHENTICATED:
            return Answer(Kind.TOKEN_REQUIRED)
        return Answer(Kind.RPC if status is code.UNIMPLEMENTED else Kind.CLIENT_SERVER)
