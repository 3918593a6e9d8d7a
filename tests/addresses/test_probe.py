"""Probing an address: small servers of each kind, and the error messages they lead to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import ray
from ray.core.generated.gcs_service_pb2 import CheckAliveReply

from fastdfkd.addresses import probe, ray_cluster, ray_token
from fastdfkd.addresses.probe import Kind

SECRET = "d" * 64


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Unset Ray's variables, and reset what a test had Ray read."""
    names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    reset_ray()
    yield
    monkeypatch.undo()
    reset_ray()


def reset_ray() -> None:
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def web(body: str, code: int = 200) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class Methods(grpc.GenericRpcHandler):
    """Answers one method as Ray does; requires `token` if it is given."""

    def __init__(self, method: str, reply: bytes, token: str | None):
        self.method, self.reply, self.token = method, reply, token

    def service(self, details: Any) -> Any:
        authorization = dict(details.invocation_metadata).get("authorization")
        if self.token and authorization != f"Bearer {self.token}":
            return grpc.unary_unary_rpc_method_handler(self.refuse)
        if not details.method.endswith(self.method):
            return None
        return grpc.unary_unary_rpc_method_handler(lambda *_: self.reply)

    def refuse(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        return b""


@contextlib.contextmanager
def rpc(
    method: str = "CheckAlive", version: str = ray.__version__, token: str | None = None
) -> Iterator[int]:
    reply = CheckAliveReply(ray_version=version).SerializeToString()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Methods(method, reply, token)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def refusal(where: str) -> str:
    """The error message for an address, which comes within seconds."""
    began = time.monotonic()
    with pytest.raises((ConnectionError, ValueError)) as caught:
        ray_cluster.check(where)
    assert time.monotonic() - began < 15
    assert "\n" not in str(caught.value)
    return str(caught.value)


DASHBOARD = json.dumps({"version": "4", "ray_version": "2.60.0"})


@pytest.mark.parametrize(
    ("server", "kind", "message"),
    [
        (lambda: web(DASHBOARD), Kind.DASHBOARD, "a cluster's dashboard.*:6379.*fastdfkd submit"),
        (
            lambda: web("Unauthorized: Missing authentication token", 401),
            Kind.DASHBOARD,
            "dashboard",
        ),
        (lambda: web("<h1>It works</h1>"), Kind.WEB, "a web server"),
        (silent, Kind.UNKNOWN, "not Ray's head accepts connections"),
        (lambda: rpc("ClusterInfo"), Kind.CLIENT_SERVER, "Ray Client.*:6379"),
        (lambda: rpc("Other"), Kind.RPC, "another gRPC service"),
        (lambda: rpc(token=SECRET), Kind.TOKEN_REQUIRED, "requires a token.*RAY_AUTH_MODE=token"),
    ],
    ids=["dashboard", "locked dashboard", "web", "silent", "client", "rpc", "locked"],
)
def test_a_service_that_is_not_a_head_is_named(server: Any, kind: Kind, message: str) -> None:
    import re

    with server() as port:
        assert probe.probe("127.0.0.1", port).kind is kind
        assert re.search(message, refusal(f"127.0.0.1:{port}"))


def test_a_head_of_the_same_version_is_accepted_and_another_is_not() -> None:
    with rpc() as port:
        ray_cluster.check(f"127.0.0.1:{port}")
        assert f"give it as 127.0.0.1:{port}" in refusal(f"http://127.0.0.1:{port}")
    with rpc(version="1.13.0") as port:
        assert "runs Ray 1.13.0" in refusal(f"127.0.0.1:{port}")


def test_a_ray_client_address_needs_a_ray_client_server() -> None:
    with rpc("ClusterInfo") as port:
        ray_cluster.check(f"ray://127.0.0.1:{port}")
    with rpc() as port:
        assert f"give it as 127.0.0.1:{port}" in refusal(f"ray://127.0.0.1:{port}")
    with web(DASHBOARD) as port:
        assert "dashboard" in refusal(f"ray://127.0.0.1:{port}")


def test_an_address_where_nothing_listens() -> None:
    with silent() as port:
        pass
    error = refusal(f"127.0.0.1:{port}")
    assert f"no Ray cluster answers at 127.0.0.1:{port}: Connection refused" in error
    assert "ray start --head" in error


@pytest.mark.parametrize("where", ["6379", "head", "ftp://head:21", "head:99999"])
def test_a_malformed_address(where: str) -> None:
    assert where in refusal(where)


def test_an_available_token_is_sent_only_if_one_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text(SECRET)
    with rpc() as port:
        ray_cluster.check(f"127.0.0.1:{port}")
    assert ray_token.headers() == {}, "no token was required"
    with rpc(token=SECRET) as port:
        ray_cluster.check(f"127.0.0.1:{port}")
        assert SECRET in str(ray_token.headers())
    with rpc(token="e" * 64) as port:
        error = refusal(f"127.0.0.1:{port}")
    assert "the token in ~/.ray/auth_token is not the cluster's" in error
    assert SECRET not in error


def test_a_token_disabled_by_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with rpc(token=SECRET) as port:
        assert "RAY_AUTH_MODE=disabled sends none" in refusal(f"127.0.0.1:{port}")


def test_the_environment_names_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_cluster.resolve_address(None) is None
    assert ray_cluster.resolve_address("local") is None
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert ray_cluster.resolve_address(None) == ray_cluster.resolve_address("auto") == "head:6379"
    assert ray_cluster.resolve_address("other:6379") == "other:6379"
