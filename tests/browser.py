"""A headless Chromium, controlled with its DevTools protocol through a pair of pipes.

Chromium reads commands from file descriptor 3 and answers on 4. Each message is JSON followed by a
zero byte. No port is opened and no driver package is needed.
https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # root in a container cannot create one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
ANSWER_S = 120.0
"""Longest wait for an answer on a busy machine; it takes 0.1 s on an idle one."""


def find() -> str | None:
    """Path of the installed Chromium or Chrome, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one page and its own profile folder."""

    def __init__(self, program: str, profile: Path):
        self.program, self.profile = program, profile
        self.requests: list[str] = []
        """URLs that the page has requested, in order."""
        self.problems: list[str] = []
        """What the browser's console says of the page: errors, and breaches of its policy."""
        self._number, self._rest, self._session = 0, b"", None

    def __enter__(self) -> Browser:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        inherited = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read, from_write)]
        redirected = 'exec "$0" "$@" 3<&{} 4>&{}'.format(*inherited)
        flags = [*FLAGS, f"--user-data-dir={self.profile}"]
        with (self.profile.parent / "browser.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", redirected, self.program, *flags, "about:blank"],
                pass_fds=inherited,
                stdout=log,
                stderr=log,
            )
        for fd in (to_read, from_write, *inherited):
            os.close(fd)
        self._out, self._in = to_write, from_read
        os.set_blocking(self._in, False)
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        opened = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = opened["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._out)  # the browser ends when the pipe is closed
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its answer."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.problems.append(json.dumps(message["params"]))
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def show(self, width: int, height: int, *, dark: bool = False, offline: bool = False) -> None:
        """Emulate a mobile screen of that size, with a light or dark theme, online or offline."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=True,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def open(self, address: str) -> None:
        """Open an address and wait until the page and its pictures are loaded."""
        self.requests.clear()
        self.problems.clear()
        answer = self.send("Page.navigate", url=address)
        assert "errorText" not in answer, answer
        self.wait_for("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Evaluate a JavaScript expression in the page and return its value."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = ANSWER_S) -> None:
        """Wait until a JavaScript expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            shown = self.run("document.body && document.body.innerText")
            assert time.monotonic() < deadline, f"not {condition} after {seconds:g} s:\n{shown}"
            time.sleep(0.2)

    def _message(self) -> Any:
        deadline = time.monotonic() + ANSWER_S
        while b"\0" not in self._rest:
            try:
                data = os.read(self._in, 1 << 16)
            except BlockingIOError:
                assert time.monotonic() < deadline, f"no answer after {ANSWER_S:g} s"
                time.sleep(0.01)
                continue
            assert data, f"the browser has gone, exit code {self.process.wait(30)}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)
