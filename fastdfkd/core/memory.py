"""The most memory that a role has held, and keeping what it has freed for its next step."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of glibc's mallopt."""


def keep_freed_memory() -> None:
    """Have this process use freed memory again instead of giving it back to the kernel.

    Every step allocates the same tensors. glibc gets those of more than 32 MB from the kernel each
    time, page by page, cleared. For a process that a role has to itself; no-op without glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory_bytes(device: torch.device | str = "cpu") -> int:
    """Most bytes that this process has held so far.

    On CUDA those that its tensors took on `device`; else the process's resident memory, which
    counts the libraries it has loaded, pages shared with other processes (Ray's object store)
    among them.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():  # Linux, whose getrusage counts in what the parent held before exec
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
    unit = 1 if sys.platform == "darwin" else 1024  # systems do not agree on it
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
