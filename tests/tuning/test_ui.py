from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fastdfkd.tracking import ParentRun
from fastdfkd.tuning.ui import show


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_taken_port_is_said(workplace: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match="another --port"):
            show(taken.getsockname()[1], lambda _: None)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_ui_answers_on_loopback_and_links_the_comparison(workplace: Path) -> None:
    with ParentRun("compare ref") as parent:
        pass
    port = free_port()
    code = "from fastdfkd.cli import main; main()"
    line = [sys.executable, "-c", code, "ui", "--port", str(port)]
    with Path("said").open("w") as said:
        server = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)
    try:
        assert "<title>MLflow" in page(f"http://127.0.0.1:{port}/", server)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    assert f"/runs/{parent.run_id}" in Path("said").read_text()


def page(address: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer; exit code {server.poll()}")
