"""A generator that is trained from the first round to the last, with its Adam state.

It is the generator of DAFL, ZSKT, DFQ and DFAD, whose modules in `core/methods/` name the papers.
Each batch trains a copy. The shared generator then takes over the copy: its weights, float buffers
and Adam moments. `MetaUpdate.tensors` holds all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.drawn_generator import drawn_generator
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.meta_gradient import BETAS
from fastdfkd.core.optimizers import Adam

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import GenerativeSection


@torch.no_grad()
def take_over(shared: Sequence[Tensor], updates: Sequence[MetaUpdate], version: int) -> None:
    """Set shared tensors to those of one trained copy exactly, or to the mean of several.

    Several synthesizers make local steps, and what they trained is averaged (local SGD, arXiv
    1805.09767). If the shared generator has changed s times since a copy was taken, which happens
    in async runs only, it moves by 1 / (1 + s) of the way to the trained copy (FedAsync, arXiv
    1903.03934). After a restart of the board a copy may be of a later version than the shared
    generator, which fell back to a checkpoint: then s is 0.

    Args:
        shared: changed in place.
        updates: one or more, with copies of the same tensors, in any order.
        version: of the shared generator.
    """
    ordered = sorted(updates, key=lambda update: update.round)
    stale = max(version - min(update.base for update in ordered), 0)
    columns = zip(*(update.tensors for update in ordered), strict=True)
    for mine, column in zip(shared, columns, strict=True):
        trained = column[0] if len(column) == 1 else torch.stack(column).mean(0)
        trained = trained.to(mine)
        mine.copy_(mine.lerp(trained, 1 / (1 + stale)) if stale else trained)


class PersistentGenerator:
    """Implements `SharedGenerator`. `version` counts the calls of `learn`."""

    def __init__(
        self,
        section: GenerativeSection,
        image_shape: Sequence[int],
        seed: int,
        device: torch.device | str = "cpu",
    ):
        self.generator = drawn_generator(section, image_shape, seed, "generator", device=device)
        self.optimizer = Adam(self.generator.parameters(), section.lr_g, BETAS)
        self.version = 0

    def begin(self, round: int) -> None:
        """Nothing is due before a round."""

    def update(self, round: int, base: int) -> MetaUpdate:
        """Copies of this generator's tensors, as the update from batch `round`.

        Args:
            round: number of the batch that trained this generator.
            base: version of the shared generator from which that training started.
        """
        return MetaUpdate(round, [tensor.clone() for tensor in self._tensors()], base)

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Take over one trained copy exactly, or the mean of several (`take_over`)."""
        if updates:
            take_over(self._tensors(), updates, self.version)
            self.version += 1

    def state_dict(self) -> dict[str, Any]:
        """Generator, optimiser and version."""
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "version": self.version,
        }

    def shared_state(self) -> dict[str, Any]:
        """The whole state: a copy goes on with the optimiser."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`, in place: a captured step reads these tensors by address."""
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.version = state["version"]

    def _tensors(self) -> list[Tensor]:
        """Weights, float buffers, both moments and the step numbers of Adam, in a fixed order."""
        buffers = [b for b in self.generator.buffers() if b.is_floating_point()]
        weights = [parameter.detach() for parameter in self.generator.parameters()]
        state = self.optimizer.state_dict()
        return [*weights, *buffers, *state["first"], *state["second"], *state["steps"]]
