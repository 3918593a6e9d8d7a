"""Where a run happened: package versions, hardware and commit, as results and tags carry them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("fastdfkd", "torch", "torchvision", "ray", "mlflow", "numpy")
_GIB = 1024**3
_GENERATION = ("cpu family", "model")
"""Lines of /proc/cpuinfo on x86."""


def versions() -> dict[str, str]:
    """Python and the packages that can change a number; `not installed` for one that is absent."""
    return dict(_versions())


def hardware() -> dict[str, Any]:
    """What this machine grants the process.

    Keys: `processor` (name), `cores` (granted, after affinity and container quota),
    `memory_gib` (of the machine, or the container's limit), `gpus` (names, possibly empty).
    """
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "gpus": list(_gpus()),
    }


@cache
def commit() -> str:
    """Git commit of the code that runs, `-dirty` with local changes, `unknown` outside git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "unknown"
    head = _output(["git", "-C", str(root), "rev-parse", "HEAD"])
    if not head:
        return "unknown"
    changes = _output(["git", "-C", str(root), "status", "--porcelain"])
    return f"{head}-dirty" if changes else head


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, "not installed"))
    return tuple(found)


@cache
def _processor() -> str:
    """Its name, on Linux with family and model: clouds call several generations the same."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
        known = {key.strip(): value.strip() for key, value in pairs}
        if "model name" in known:
            parts = (f"{key.split()[-1]} {known[key]}" for key in _GENERATION if key in known)
            return " ".join([known["model name"], *parts])
    return platform.processor() or platform.machine()


@cache
def _cores() -> float:
    """Cores the process may use: its affinity, and the container's CPU quota where it is lower."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = float(available or 1)
    quota = _first_line(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, int(quota[0]) / int(quota[1]))
    return round(cores, 2)


@cache
def _memory_gib() -> float:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _first_line(Path("/sys/fs/cgroup/memory.max"))
    if limit.isdigit():
        total = min(total, int(limit))
    return round(total / _GIB, 1)


@cache
def _gpus() -> tuple[str, ...]:
    """Names from nvidia-smi: asking torch would start CUDA in a process that may not need it."""
    if shutil.which("nvidia-smi") is None:
        return ()
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return tuple(line.strip() for line in names.splitlines() if line.strip())


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:  # not Linux, or no such control group: there is no such limit
        return ""


def _output(command: list[str]) -> str:
    """Standard output of a short command, empty when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
