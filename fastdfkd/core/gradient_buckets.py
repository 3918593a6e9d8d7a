"""Gradients of several workers, averaged in buckets while the backward pass runs.

A bucket is one flat buffer with the gradients of some parameters. It exists once, so a captured
step finds it at the same address. When a bucket is complete, its exchange starts, and the backward
pass goes on meanwhile. All workers send their buckets in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, distributed

from fastdfkd.core.torch_versions import foreach_copy_

BUCKET_BYTES = 25 * 2**20
"""About the size of a bucket, as in torch's DistributedDataParallel."""


class GradientBuckets:
    """The buckets of a student's parameters.

    An update calls `begin`, runs backward, and calls `finish`.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        """Watch parameters for their gradients.

        Args:
            parameters: leaves that require gradients, in their final memory layout; the same on
                all workers of torch's default process group.
        """
        self.buckets = [_Bucket(part) for part in _parts(parameters)]
        self.sent = 0
        """Buckets that were sent since `begin`."""
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._arrival_in(bucket)
                )

    def begin(self) -> None:
        """Start an update. What an interrupted one left is dropped."""
        self.sent = 0
        for bucket in self.buckets:
            bucket.reset()

    def finish(self) -> None:
        """Put the averages into `parameter.grad`; a gradient that is missing counts as zeros."""
        self._send(self.buckets[self.sent :])
        for bucket in self.buckets:
            bucket.receive()

    def _arrival_in(self, bucket: _Bucket) -> Callable[[Tensor], None]:
        def arrived(_: Tensor) -> None:
            """Send what is complete, always in the order of the buckets."""
            bucket.missing -= 1
            while self.sent < len(self.buckets) and not self.buckets[self.sent].missing:
                self._send([self.buckets[self.sent]])

        return arrived

    def _send(self, buckets: Sequence[_Bucket]) -> None:
        for bucket in buckets:
            bucket.send()
        self.sent += len(buckets)


class _Bucket:
    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters, self.share = parameters, 1 / distributed.get_world_size()
        sizes = [parameter.numel() for parameter in parameters]
        self.flat = parameters[0].new_zeros(sum(sizes))
        # In the layout of the parameter: fused optimisers on the CPU ignore strides.
        self.places = [
            self.flat.as_strided(parameter.shape, torch.empty_like(parameter).stride(), start)
            for parameter, start in zip(parameters, accumulate(sizes, initial=0), strict=False)
        ]
        self.reset()

    def reset(self) -> None:
        """Wait for new gradients."""
        self.missing = len(self.parameters)
        """Gradients that the backward pass has not made yet."""
        self.work: Any = None

    @torch.no_grad()
    def send(self) -> None:
        """Start the exchange."""
        places, gradients = [], []
        for place, parameter in zip(self.places, self.parameters, strict=True):
            if parameter.grad is None:
                place.zero_()
            else:
                places.append(place)
                gradients.append(parameter.grad)
        foreach_copy_(places, gradients)
        self.flat.mul_(self.share)  # before the sum, as DDP does
        self.work = distributed.all_reduce(self.flat, async_op=True)

    def receive(self) -> None:
        """Wait for the exchange. On a GPU the stream waits, not the host."""
        self.work.wait()
        self.work = None
        for place, parameter in zip(self.places, self.parameters, strict=True):
            parameter.grad = place


def _parts(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """The parameters of each bucket, of one type, in the order in which their gradients come."""
    parts: list[list[Tensor]] = []
    size = 0
    for parameter in reversed(parameters):
        if not parts or size >= BUCKET_BYTES or parts[-1][0].dtype != parameter.dtype:
            parts.append([])
            size = 0
        parts[-1].append(parameter)
        size += parameter.nbytes
    return parts
