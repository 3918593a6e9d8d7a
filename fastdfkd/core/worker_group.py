"""What the workers exchange that train one student together.

Each worker runs the student on its share of a batch. Gradients are averaged before the optimiser's
step, so that the weights stay equal on all workers. This is what torch's DistributedDataParallel
(DDP) does, and with two workers the student is that of DDP bit for bit. DDP itself is not used:
it counts its calls, measures some of them and orders its buckets anew, so only some of its calls
can be captured. Here a step is a function of tensors, and can be captured as a CUDA graph with its
exchanges (`core/captured.py`).

All exchanges use torch's default process group: NCCL on GPUs, gloo on CPUs. The setting
TORCH_NCCL_ASYNC_ERROR_HANDLING=0, which torch's notes on CUDA graphs ask for, is not needed: the
thread that watches exchanges leaves out captured ones (PyTorch pull requests 102542 and 104487).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, distributed, nn

from fastdfkd.core.gradient_buckets import GradientBuckets
from fastdfkd.core.torch_versions import foreach_copy_


class Workers(Protocol):
    """One worker's side of the exchanges for a student. All workers make the same calls.

    An update calls `begin`, runs the student forward and backward, and calls `finish`.
    """

    @property
    def capture_trouble(self) -> str:
        """Why steps with these exchanges cannot be CUDA graphs; empty if they can."""

    def begin(self) -> None:
        """Start an update."""

    def finish(self) -> None:
        """Put the averaged gradients into `parameter.grad`."""

    def agree(self, mine: bool) -> bool:
        """Whether a value is true on all workers."""

    def least(self, mine: int) -> int:
        """The smallest of the workers' numbers."""


class OneWorker:
    """Implements `Workers` for a worker that trains alone: it exchanges nothing."""

    capture_trouble = ""

    def begin(self) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """The gradients are those of the backward pass."""

    def agree(self, mine: bool) -> bool:
        """The worker's own value."""
        return mine

    def least(self, mine: int) -> int:
        """The worker's own number."""
        return mine


class WorkerGroup:
    """Implements `Workers` for the workers of torch's default process group."""

    def __init__(self, module: nn.Module, *others: nn.Module, idle_parameters: bool = False):
        """Give the student the weights and buffers of the first worker.

        Args:
            module: the student in its final memory layout, on its device.
            others: modules without buffers that are trained with it; likewise.
            idle_parameters: whether some parameters may get no gradient in an update. The workers
                then compare in every update which ones do, and the host waits for the result.

        Raises:
            RuntimeError: torch's default process group does not exist.
        """
        if not distributed.is_initialized():
            raise RuntimeError(
                "workers that train together need torch's default process group: call "
                "torch.distributed.init_process_group first, as Ray Train does"
            )
        self.module, self.idle_parameters = module, idle_parameters
        named = [pair for each in (module, *others) for pair in each.named_parameters()]
        copy_from_first([*(parameter for _, parameter in named), *module.buffers()])
        self.named = {name: p for name, p in named if p.requires_grad}
        self.device = next(iter(self.named.values())).device
        self.buckets = GradientBuckets(list(self.named.values()))

    @property
    def capture_trouble(self) -> str:
        """See `Workers`."""
        if self.idle_parameters:
            return "some parameters get no gradient, and the host waits to learn which ones"
        backend = distributed.get_backend()
        if self.device.type == "cuda" and backend != "nccl":
            return f"the workers exchange gradients with {backend}; only nccl can be captured"
        return ""

    def begin(self) -> None:
        """Start an update: all workers take the buffers of the first one, as in DDP."""
        self.buckets.begin()
        copy_from_first(list(self.module.buffers()))

    def finish(self) -> None:
        """Put the averaged gradients into `parameter.grad`.

        A parameter without a gradient on all workers keeps None.

        Raises:
            RuntimeError: a parameter got no gradient, and `idle_parameters` is false.
        """
        idle = [name for name, parameter in self.named.items() if parameter.grad is None]
        if idle and not self.idle_parameters:
            raise RuntimeError(
                f"{len(idle)} parameters of the student got no gradient in an update ({idle[0]}), "
                "though all had one when the student was tried: with several workers every "
                "parameter has to take part in each forward pass; train with one worker otherwise"
            )
        unused = self._unused_by_all() if self.idle_parameters else []
        self.buckets.finish()
        for parameter in unused:
            parameter.grad = None

    def agree(self, mine: bool) -> bool:
        """Whether a value is true on all workers. The host waits for the answer."""
        return bool(self.least(int(mine)))

    def least(self, mine: int) -> int:
        """The smallest of the workers' numbers. The host waits for it."""
        number = torch.tensor(mine, device=self.device)
        distributed.all_reduce(number, distributed.ReduceOp.MIN)
        return int(number)

    def _unused_by_all(self) -> list[Tensor]:
        """The parameters of which no worker has a gradient."""
        parameters = list(self.named.values())
        mine = [float(parameter.grad is not None) for parameter in parameters]
        used = torch.tensor(mine, device=self.device)
        distributed.all_reduce(used, distributed.ReduceOp.MAX)
        return [p for p, use in zip(parameters, used.tolist(), strict=True) if not use]


@torch.no_grad()
def copy_from_first(tensors: Sequence[Tensor]) -> None:
    """Fill tensors with their values on the first worker; one exchange for each type."""
    kinds: defaultdict[torch.dtype, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        kinds[tensor.dtype].append(tensor)
    for same in kinds.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in same])
        distributed.broadcast(flat, 0)
        parts = torch.split(flat, [tensor.numel() for tensor in same])
        foreach_copy_(same, [part.view(t.shape) for part, t in zip(parts, same, strict=True)])
