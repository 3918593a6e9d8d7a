"""The part of a GPU that a role has: the limit of its memory."""

from __future__ import annotations

import ray
import torch


def assigned_gpu() -> float:
    """The part of a GPU that Ray assigned to this actor, at most 1; 1 outside of actors."""
    if not ray.is_initialized():
        return 1.0
    context = ray.get_runtime_context()
    if context.get_actor_id() is None:
        return 1.0
    assigned = context.get_assigned_resources()  # type: ignore[no-untyped-call]
    return min(float(assigned.get("GPU", 1.0)), 1.0)


def limit_gpu_memory(device: torch.device | str) -> None:
    """Let this process allocate at most its part of the GPU's memory.

    Roles that share a GPU then cannot take each other's memory: one that needs more gets torch's
    out-of-memory error, which names the limit. Does nothing on the CPU and with a whole GPU.
    """
    device = torch.device(device)
    part = assigned_gpu()
    if device.type == "cuda" and part < 1:
        torch.cuda.set_per_process_memory_fraction(part, device)


def free_gpu_memory(device: torch.device, part: float = 1.0) -> int:
    """Bytes of a GPU that this process may still allocate.

    Args:
        device: the GPU.
        part: of its memory that the process may have.
    """
    free, total = torch.cuda.mem_get_info(device)
    return min(free, max(int(part * total) - torch.cuda.memory_reserved(device), 0))
