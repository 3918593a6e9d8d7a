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


class Clock:
    """Adds up seconds by name. Work queued on the device belongs to the span that queued it."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.seconds: defaultdict[str, float] = defaultdict(float)

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
        return time.time()
