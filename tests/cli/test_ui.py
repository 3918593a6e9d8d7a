from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastdfkd.cli.ui import show
from fastdfkd.tracking import ParentRun
from tests.browser import Browser

START_S = 240.0
"""Longest wait for the server on a busy machine; it takes 20 s on an idle one."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_in_use_is_an_error(workplace: Path) -> None:
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
    with ui() as address:
        output = Path("output").read_text()
    assert address.startswith("http://127.0.0.1:")
    assert f"Comparison: {address}/#/experiments/" in output
    assert f"/runs/{parent.run_id}" in output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ui_shows_the_runs_and_the_comparison_in_a_browser(
    workplace: Path, browser: Browser
) -> None:
    with ParentRun("compare ref") as parent:
        parent.log(metrics={"two.synthesis_speedup": 25.0}, artifacts=[])
    with ui() as address:
        lines = [line.partition(": ") for line in Path("output").read_text().splitlines()]
        links = {name: link.strip() for name, _, link in lines}
        browser.show(1280, 900)
        browser.open(links["Runs"])
        browser.wait_for("document.body.innerText.includes('compare ref')", START_S)
        assert links["Comparison"].startswith(address)
        browser.open(links["Comparison"])
        browser.wait_for("document.body.innerText.includes('two.synthesis_speedup')", START_S)
        assert browser.run("location.href").endswith(f"/runs/{parent.run_id}")


@contextmanager
def ui() -> Iterator[str]:
    """Run `fastdfkd ui` until the block ends; its standard output goes to the file `output`."""
    port = free_port()
    code = "from fastdfkd.cli import main; main()"
    command = [sys.executable, "-c", code, "ui", "--port", str(port)]
    with Path("output").open("w") as output, Path("server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=output, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        assert "<title>MLflow" in page(f"{address}/", server)
        yield address
    finally:
        server.terminate()  # a background job of a shell ignores SIGINT
        server.wait(60)


def page(address: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer; exit code {server.poll()}")
