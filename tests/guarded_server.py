"""An MLflow server that requires a user and a password, and stores the requests."""

from __future__ import annotations

import base64
import json
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError

USER, PASSWORD = "me@work", "hunter2-hunter2"
IN_URI = "me%40work:hunter2-hunter2"


class GuardedServer:
    """Answers HTTP 401 to requests without the right Basic header.

    Other requests get the answer of MLflow: a fixed one, or that of a real server.
    """

    def __init__(self, artifacts: Path, behind: str = "") -> None:
        """Listen on a free port of the loopback address.

        Args:
            artifacts: folder for the artifacts of runs; not used with `behind`.
            behind: address of a real server to which requests are forwarded.
        """
        self.bodies: list[bytes] = []
        """Path and body of each request, without headers."""
        self.refused = 0
        """Number of requests that got a 401."""
        self.artifacts, self.behind = artifacts, behind
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.place = f"127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> GuardedServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, body: bytes) -> dict[str, Any] | None:
        """The answer of MLflow's REST interface for one experiment and run; None means 404."""
        run = {
            "info": {
                "run_id": "r1",
                "run_uuid": "r1",
                "run_name": "run",
                "experiment_id": "1",
                "status": "RUNNING",
                "start_time": 1,
                "lifecycle_stage": "active",
                "artifact_uri": self.artifacts.as_uri(),
            },
            "data": {},
        }
        experiment = {"experiment_id": "1", "name": "x", "lifecycle_stage": "active"}
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "experiments/get-by-name": lambda: {"experiment": experiment},
            "runs/create": lambda: {"run": run},
            "runs/get": lambda: {"run": run},
            "runs/update": lambda: {"run_info": run["info"]},
            "runs/log-batch": dict,
        }
        name = path.partition("?")[0].partition("/mlflow/")[2]
        return answers[name]() if name in answers else None


class _Handler(BaseHTTPRequestHandler):
    server_of: GuardedServer

    def do_GET(self) -> None:
        guarded = self.server_of
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        guarded.bodies.append(self.path.encode() + b"\n" + body)
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            guarded.refused += 1
            self.reply(401, b"You are not authenticated.")
        elif guarded.behind:
            self.reply(*self.forward(body))
        else:
            answer = guarded.answer(self.path, body)
            self.reply(404 if answer is None else 200, json.dumps(answer or {}).encode())

    do_POST = do_PUT = do_PATCH = do_GET

    def forward(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer of the real server."""
        kept = {name: self.headers[name] for name in ("Content-Type",) if name in self.headers}
        request = urllib.request.Request(
            self.server_of.behind + self.path, body or None, kept, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def reply(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""
