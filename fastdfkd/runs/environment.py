"""Package versions, hardware and commit, for results and MLflow tags."""

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
_GENERATION_KEYS = ("cpu family", "model")
"""Keys of /proc/cpuinfo on x86 that identify the generation of a processor."""


def versions() -> dict[str, str]:
    """Version of Python and of the packages that can change a result; else `not installed`."""
    return dict(_versions())


def hardware() -> dict[str, Any]:
    """The hardware that this process can use.

    Keys: `processor` (name), `cores` (after CPU affinity and container quota), `memory_gib` (of the
    machine, or the container's limit), `gpus` (list of names, possibly empty).
    """
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "gpus": list(_gpus()),
    }


@cache
def commit() -> str:
    """Git commit of this code, with `-dirty` for local changes; `unknown` outside a checkout."""
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
    pairs = [("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            pairs.append((package, version(package)))
        except PackageNotFoundError:
            pairs.append((package, "not installed"))
    return tuple(pairs)


@cache
def _processor() -> str:
    """Name of the processor.

    On Linux it includes family and model, because cloud providers give several generations the same
    name.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
        info = {key.strip(): value.strip() for key, value in pairs}
        if "model name" in info:
            parts = (f"{key.split()[-1]} {info[key]}" for key in _GENERATION_KEYS if key in info)
            return " ".join([info["model name"], *parts])
    return platform.processor() or platform.machine()


@cache
def usable_cores() -> float:
    """Cores that the process may use: its CPU affinity or the container's quota if it is lower."""
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
    """GPU names from nvidia-smi. torch would initialise CUDA in a process that may not need it."""
    if shutil.which("nvidia-smi") is None:
        return ()
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return tuple(line.strip() for line in names.splitlines() if line.strip())


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:  # not Linux, or no such control group: no limit
        return ""


def _output(command: list[str]) -> str:
    """Standard output of a short command; empty if it fails or does not exist."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""
