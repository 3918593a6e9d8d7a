"""Caches augmented images with the teacher's logits, to run the teacher once per view.

A view is an augmented image. With a cache, an update of B views runs the teacher on B / reuse new
views only. The others are drawn from a ring of the newest 16 B views. So each view is used about
`reuse` times, within 16 * reuse updates. Images that are new in the bank still reach the student
in the next update. Until the ring is full, all views are new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BATCHES = 16
"""Capacity of the ring in batches."""


class TeacherCache:
    """A ring of views (uint8) and logits (float32) on the device of the student."""

    def __init__(self, reuse: int, batch: int):
        self.batch, self.fresh = batch, max(batch // reuse, 1)
        self.capacity = BATCHES * batch
        self.views: Tensor | None = None
        """(capacity, C, H, W) uint8; None before the first insertion."""
        self.logits: Tensor | None = None
        """(capacity, K, *space) float32; None before the first insertion."""
        self.inserted = 0
        """Number of views ever inserted; view number n is in slot n mod capacity."""

    @property
    def wanted(self) -> int:
        """Number of new views that the next update must insert."""
        return self.batch if self.inserted < self.capacity else self.fresh

    def draw(self, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Draw the cached views of the next update, uniformly and with replacement.

        Returns:
            Views (batch - wanted, C, H, W) uint8 and logits (batch - wanted, K, *space), each in a
            list of one; two empty lists while all views are new.
        """
        if self.wanted == self.batch or self.views is None or self.logits is None:
            return [], []
        shape = (self.batch - self.wanted,)
        index = torch.randint(self.capacity, shape, generator=generator, device=generator.device)
        return [self.views[index]], [self.logits[index]]

    def insert(self, views: Tensor, logits: Tensor) -> None:
        """Store new views (wanted, C, H, W) uint8 and their logits (wanted, K, *space)."""
        if self.views is None or self.logits is None:
            self.views = views.new_zeros(self.capacity, *views.shape[1:])
            self.logits = logits.new_zeros(self.capacity, *logits.shape[1:])
        places = torch.arange(self.inserted, self.inserted + len(views), device=views.device)
        places %= self.capacity
        self.views[places], self.logits[places] = views, logits
        self.inserted += len(views)

    def state_dict(self) -> dict[str, Any]:
        """The whole ring, so that a resumed run draws the same views, bit for bit."""
        return {"views": self.views, "logits": self.logits, "inserted": self.inserted}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore `state_dict()` on `device`; start empty if the number of workers has changed."""
        fits = state["inserted"] and len(state["views"]) == self.capacity
        self.inserted = state["inserted"] if fits else 0
        if fits:
            self.views = state["views"].to(device, copy=True)
            self.logits = state["logits"].to(device, copy=True)
