"""Views that the student has seen, with the teacher's logits, so that the teacher is asked once.

A view is an image after its augmentation. With a cache an update of B views asks the teacher
about B / reuse new ones only; the others are drawn from a ring of the newest 16 B. Every view is
therefore trained on about `reuse` times, spread over 16 * reuse updates, and images that are new
in the bank reach the student from their first update on. Until the ring is full every view is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BATCHES = 16


class TeacherCache:
    """The ring. Views lie in it as uint8, logits as float32, both on the student's device."""

    def __init__(self, reuse: int, batch: int):
        self.batch, self.fresh = batch, max(batch // reuse, 1)
        self.capacity = BATCHES * batch
        self.views: Tensor | None = None
        """(capacity, C, H, W) uint8, from the first insertion on."""
        self.logits: Tensor | None = None
        """(capacity, K, *space) float32."""
        self.inserted = 0
        """Views ever inserted; number n lies in place n mod capacity."""

    @property
    def wanted(self) -> int:
        """New views that the next update has to bring."""
        return self.batch if self.inserted < self.capacity else self.fresh

    def draw(self, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """What the next update takes from the ring, uniformly and with replacement.

        Returns:
            Views (batch - wanted, C, H, W) uint8 and logits (batch - wanted, classes), each in a
            list that is empty while every view is new.
        """
        if self.wanted == self.batch or self.views is None or self.logits is None:
            return [], []
        shape = (self.batch - self.wanted,)
        index = torch.randint(self.capacity, shape, generator=generator, device=generator.device)
        return [self.views[index]], [self.logits[index]]

    def insert(self, views: Tensor, logits: Tensor) -> None:
        """Keep an update's new views (wanted, C, H, W) uint8 and logits (wanted, classes)."""
        if self.views is None or self.logits is None:
            self.views = views.new_zeros(self.capacity, *views.shape[1:])
            self.logits = logits.new_zeros(self.capacity, *logits.shape[1:])
        places = torch.arange(self.inserted, self.inserted + len(views), device=views.device)
        places %= self.capacity
        self.views[places], self.logits[places] = views, logits
        self.inserted += len(views)

    def state_dict(self) -> dict[str, Any]:
        """The whole ring, so that a resumed run goes on with the same views, bit for bit."""
        return {"views": self.views, "logits": self.logits, "inserted": self.inserted}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from `state_dict()`, on `device`; from nothing where the workers were others."""
        fits = state["inserted"] and len(state["views"]) == self.capacity
        self.inserted = state["inserted"] if fits else 0
        if fits:
            self.views = state["views"].to(device, copy=True)
            self.logits = state["logits"].to(device, copy=True)
