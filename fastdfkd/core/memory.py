"""The most memory that a role has held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


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
