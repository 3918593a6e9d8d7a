"""One clock for every role, synchronised with the device it measures.

*synthesis*     from the draw of z to the finished uint8 batch
*storage*       put, insert, get, copy to the trainer's device
*distillation*  student updates including augmentation and the teacher's forward
*evaluation*    on held-out real images
*idle*          a synthesizer or a worker waiting for the other
*end-to-end*    from the first draw to the last update, evaluation left out
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SteadyTime:
    """Unix time that never goes back: a clock that is set back in mid-run costs no second twice.

    A step back is made good by the monotonic clock; objects that were made before the step agree
    afterwards, in whatever process of the machine they are.
    """

    def __init__(self) -> None:
        self._made_good = 0.0
        self._wall, self._monotonic = time.time(), time.monotonic()

    def __call__(self) -> float:
        """Unix seconds."""
        wall, monotonic = time.time() + self._made_good, time.monotonic()
        if wall < self._wall:
            due = self._wall + monotonic - self._monotonic
            self._made_good += due - wall
            wall = due
        self._wall, self._monotonic = wall, monotonic
        return wall


class Clock:
    """Adds up seconds by name. Work queued on the device belongs to the span that queued it."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.unix = SteadyTime()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time a block under `name`, errors included."""
        start = self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - start

    def now(self) -> float:
        """Unix time after everything queued on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.unix()
