"""Measures seconds, synchronised with the device. Synthesizers and trainers use the same names.

*synthesis*     from the draw of z to the finished uint8 batch
*storage*       put, insert, get, copy to the trainer's device
*distillation*  student updates including augmentation and the teacher's forward pass
*evaluation*    of the student on held-out real images
*idle*          a synthesizer or a trainer waiting for the other
*end-to-end*    from the first draw of z to the last update, without evaluation
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SteadyTime:
    """Unix time that never goes back, even if the system clock is set back.

    After such a step the monotonic clock supplies the missing seconds. All objects created before
    the step agree afterwards, in every process of the machine.
    """

    def __init__(self) -> None:
        self._made_good = 0.0
        self._wall, self._monotonic = time.time(), time.monotonic()

    def __call__(self) -> float:
        """Unix time in seconds."""
        wall, monotonic = time.time() + self._made_good, time.monotonic()
        if wall < self._wall:
            due = self._wall + monotonic - self._monotonic
            self._made_good += due - wall
            wall = due
        self._wall, self._monotonic = wall, monotonic
        return wall


class Clock:
    """Sums seconds by name. Work queued on the device counts for the block that queued it."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.unix = SteadyTime()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to `name`, also if it raises."""
        start = self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - start

    def now(self) -> float:
        """Unix time in seconds, after all work queued on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.unix()
