"""Ray nodes as processes of this machine, each a real `ray start`, and no other cluster's.

Every node has ports, a session folder and a process group of its own. Nothing here calls
`ray stop`, which would end every Ray on the machine: a node is ended by the ids of its processes.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

BIN = Path(sys.executable).parent
STARTED = "Ray runtime started"
START_S = 120.0
"""Seconds a node may take to start on a busy machine; 20 on a calm one."""

TRIES = 3
OBJECT_STORE_BYTES = 150_000_000


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def descendants(pid: int) -> set[int]:
    """Ids of a process, of all below it and of all in its session, as /proc has them now."""
    parents: dict[int, int] = {}
    found = {pid}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has just ended
                continue
            _, parent, _, session, *_ = stat.rpartition(")")[2].split()
            parents[int(entry.name)] = int(parent)
            if int(session) == pid:
                found.add(int(entry.name))
    before = 0
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def listening(port: int) -> set[str]:
    """Addresses of IPv4 and IPv6 on which this machine listens at a port."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            number, _, end = local.partition(":")
            if state == "0A" and int(end, 16) == port:
                octets = [str(byte) for byte in reversed(bytes.fromhex(number))]
                found.add(".".join(octets) if name == "tcp" else number)
    return found


class Node:
    """One `ray start --block` in a session of its own."""

    def __init__(self, words: list[str], env: dict[str, str], cwd: Path, log: Path):
        self.log = log
        self._file: IO[bytes] = log.open("wb")
        self.process = subprocess.Popen(
            [str(BIN / "ray"), "start", *words, "--disable-usage-stats", "--block"],
            env=env,
            cwd=cwd,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.alive = True

    def came_up(self) -> bool:
        """Whether it is up; waits until that is known."""
        deadline = time.monotonic() + START_S
        while STARTED not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to every process of the node at once, as when its machine is taken away."""
        if not self.alive:
            return
        for pid in descendants(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=30)
        self._file.close()
        self.alive = False


class Nodes:
    """A head and its worker nodes; `close` ends what was started, by process id."""

    def __init__(self, *, head_cpus: int = 0):
        self.folder = Path(tempfile.mkdtemp(prefix="fd", dir="/tmp"))  # short: socket names
        self.token = self.folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self.port, self.dashboard, self.client = free_port(), free_port(), free_port()
        self.all: list[Node] = []
        self.head_cpus = head_cpus

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def env(self) -> dict[str, str]:
        """Of a node and of a client: the cluster's token, and our commands first on PATH."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
        return {
            **kept,
            "PATH": f"{BIN}:{kept.get('PATH', '')}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_FAKE_CLUSTER": "1",  # lets an autoscaler add nodes of this machine
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "FASTDFKD_HOME": str(self.folder / "cache"),
        }

    def start_head(self, *, most_added: int = 0, cpus_each: int = 0) -> Node:
        """A head; with `most_added` its autoscaler may add so many nodes, on this machine too."""
        words = ["--head", "--port", str(self.port), "--dashboard-port", str(self.dashboard)]
        words += ["--ray-client-server-port", str(self.client), "--num-cpus", str(self.head_cpus)]
        if most_added:
            config = self.folder / "autoscaler.json"
            config.write_text(json.dumps(self._autoscaler(most_added, cpus_each)))
            words += ["--autoscaling-config", str(config)]
        return self._start(words)

    def _autoscaler(self, most_added: int, cpus_each: int) -> dict[str, object]:
        """Configuration of Ray's autoscaler with its provider of nodes on one machine."""
        added = {"CPU": cpus_each, "object_store_memory": OBJECT_STORE_BYTES}
        head = {"resources": {"CPU": self.head_cpus}, "node_config": {}, "max_workers": 0}
        commands = "initialization setup head_setup worker_setup head_start_ray worker_start_ray"
        return {
            **{f"{name}_commands": [] for name in commands.split()},
            **{"auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": []},
            "cluster_name": "tests",
            "max_workers": most_added,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 0.2,
            "provider": {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{self.port}"},
            "available_node_types": {
                "ray.head.default": head,
                "added": {"resources": added, "node_config": {}, "max_workers": most_added},
            },
            "head_node_type": "ray.head.default",
        }

    def start_worker(self, *, cpus: int, gpus: int = 0) -> Node:
        words = ["--address", f"127.0.0.1:{self.port}", "--num-cpus", str(cpus)]
        return self._start([*words, "--num-gpus", str(gpus)])

    def _start(self, words: list[str]) -> Node:
        """A node that is up. Ray gives a raylet 30 s to register, so a busy machine tries again."""
        for _ in range(TRIES):
            name = f"n{len(self.all)}"
            more = ["--temp-dir", str(self.folder / name), "--node-ip-address", "127.0.0.1"]
            more += ["--dashboard-agent-listen-port", str(free_port())]
            more += ["--object-store-memory", str(OBJECT_STORE_BYTES)]
            node = Node([*words, *more], self.env, self.folder, self.folder / f"{name}.log")
            self.all.append(node)
            if node.came_up():
                return node
            node.kill()
        raise AssertionError(f"no node after {TRIES} tries; the last one:\n{node.said()}")

    def close(self) -> None:
        for node in reversed(self.all):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Terminal:
    """A command that believes it is on a terminal, with somebody's hands on the keyboard."""

    def __init__(self, words: list[str], env: dict[str, str], cwd: Path):
        self._ours, theirs = pty.openpty()
        code = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=env,
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str, times: int, seconds: float) -> None:
        """Until `text` was said so many times."""
        deadline = time.monotonic() + seconds
        while self.said.count(text) < times:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        """All that is said; nobody who talks has to wait for us."""
        while True:
            try:
                self.said += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:  # the other side has gone
                return
