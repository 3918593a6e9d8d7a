"""What CMI's contrastive term keeps from batch to batch: a projection head and a memory.

Source: L_cr of arXiv 2105.08584; sizes, rates and betas are those of its authors' code, rounding to
float16 and the ring are this project's (`core/methods/cmi.py`).

Both belong to one synthesizer. For WRN-40-2 with its 2,704 features the full memory of 40,960 rows
is 443 MB as float16, and the head with its Adam 96 MB. A state has the filled rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.optimizers import Adam

HEAD_BETAS = (0.9, 0.999)
PROJECTED = 256
"""Length of a projected feature."""


class ProjectionHead(nn.Module):
    """Linear, ReLU, linear; the result has length 1."""

    def __init__(self, features: int):
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.out = nn.Linear(features, PROJECTED)

    def forward(self, features: Tensor) -> Tensor:
        """Maps features (N, D) to (N, 256), float32 or float64."""
        projected = self.out(F.relu(self.hidden(features)))
        return F.normalize(projected.to(features.dtype), dim=1)


class FeatureMemory:
    """A ring of the newest `capacity` rows.

    Row number n of the run is in slot n mod capacity, so that nothing special happens when the
    memory is full. Rows are float16; what it cannot hold is cut to its largest number.
    """

    def __init__(self, capacity: int, width: int, device: torch.device | str = "cpu"):
        self.rows = torch.zeros(capacity, width, dtype=torch.float16, device=device)
        self.inserted = 0
        """Number of rows ever inserted."""

    def __len__(self) -> int:
        """Number of rows held now."""
        return min(self.inserted, len(self.rows))

    def extend(self, rows: Tensor) -> None:
        """Add rows (B, width); the oldest are overwritten."""
        capacity = len(self.rows)
        first = max(len(rows) - capacity, 0)  # of those that stay
        slots = torch.arange(self.inserted + first, self.inserted + len(rows)) % capacity
        self.rows[slots.to(self.rows.device)] = halved(rows[first:])
        self.inserted += len(rows)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Slots of `count` different rows, uniformly; of all rows if there are fewer. int64."""
        order = torch.randperm(len(self), generator=generator, device=self.rows.device)
        return order[:count]

    def state_dict(self) -> dict[str, Any]:
        """The filled rows and how many there ever were."""
        return {"rows": self.rows[: len(self)], "inserted": self.inserted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.inserted = int(state["inserted"])
        self.rows[: len(self)] = state["rows"]


def halved(rows: Tensor) -> Tensor:
    """Rows as float16."""
    most = torch.finfo(torch.float16).max
    return rows.clamp(-most, most).half()


class Contrast:
    """Implements `SharedGenerator` for one synthesizer: head, its Adam and the memory.

    A batch trains a working copy of the head. The head takes over the copy in `learn`, so that a
    batch can be made again from the same state.
    """

    def __init__(self, features: int, capacity: int, lr: float, device: torch.device | str):
        self.head = ProjectionHead(features).to(device)
        """The working copy."""
        self.optimizer = Adam(self.head.parameters(), lr, HEAD_BETAS)
        self.memory = FeatureMemory(capacity, 2 * features, device)
        self.version = 0
        self._kept = [tensor.detach().clone() for tensor in self._working]

    @property
    def _working(self) -> list[Tensor]:
        """Weights, both moments and step numbers of the working copy."""
        adam = self.optimizer
        return [*self.head.parameters(), *adam.first, *adam.second, *adam.steps]

    def begin(self, round: int) -> None:
        """Nothing is due before a batch."""

    @torch.no_grad()
    def begin_batch(self) -> None:
        """Set the working copy to what was kept."""
        self.optimizer.zero_grad()  # gradients of a step that raised
        torch_versions.foreach_copy_(self._working, self._kept)

    def update_of(self, round: int, rows: Tensor) -> MetaUpdate:
        """The update of a batch: the working copy as it is now, and new rows (B, 2D)."""
        return MetaUpdate(round, [*(t.detach().clone() for t in self._working), rows.clone()])

    @torch.no_grad()
    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Keep the head of the last round, and the rows of all."""
        for update in sorted(updates, key=lambda each: each.round):
            *head, rows = update.tensors
            torch_versions.foreach_copy_(self._kept, head)
            self.memory.extend(rows)
            self.version += 1

    def shared_state(self) -> dict[str, Any]:
        """The whole state."""
        return self.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Head, optimiser, memory and version."""
        memory = self.memory.state_dict()
        return {"head": self._kept, "memory": memory, "version": self.version}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        for kept, tensor in zip(self._kept, state["head"], strict=True):
            kept.copy_(tensor)
        self.memory.load_state_dict(state["memory"])
        self.version = int(state["version"])
