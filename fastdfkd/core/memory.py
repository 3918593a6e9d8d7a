"""Peak memory of a process, and reuse of freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")
"""Writing 5 resets the peak of the resident memory (man page proc_pid_clear_refs)."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameter numbers of glibc's mallopt."""
_DEFAULTS = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
"""Values of glibc; the thresholds are those that it reaches in a process with large tensors."""


def keep_freed_memory() -> None:
    """Make this process reuse freed memory instead of returning it to the kernel.

    Every step allocates the same tensors. By default glibc requests those of more than 32 MB from
    the kernel each time, which clears them page by page. Call it only in a process that runs one
    synthesizer or trainer and nothing else. Does nothing without glibc.
    """
    _set_malloc({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1})


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Meanwhile this process reuses freed memory, as a role does; afterwards it returns it."""
    keep_freed_memory()
    try:
        yield
    finally:
        _set_malloc(_DEFAULTS)
        return_freed_memory()


def return_freed_memory() -> None:
    """Return the memory that this process has freed to the kernel. Does nothing without glibc."""
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _set_malloc(values: Mapping[int, int]) -> None:
    if _has_glibc():
        libc = ctypes.CDLL(None)
        for parameter, value in values.items():
            libc.mallopt(parameter, value)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def forget_peak_memory(device: torch.device | str = "cpu") -> int:
    """Start `peak_memory_bytes` anew; return the bytes in use now, from which it starts.

    Where the system does not allow this (not Linux), the peak stays that of the whole process.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _FORGET.write_text("5", encoding="ascii")
    return peak_memory_bytes(device)


def peak_memory_bytes(device: torch.device | str = "cpu") -> int:
    """Peak memory of this process so far, in bytes.

    On CUDA: of its tensors on `device`. Otherwise: resident memory of the process, with its loaded
    libraries and with pages that it shares with other processes (Ray's object store).
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():  # Linux: its getrusage includes what the parent held before exec
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
