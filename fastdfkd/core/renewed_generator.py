"""A generator that goes on from batch to batch and is drawn anew at set rounds.

Each batch trains a copy with an Adam of its own. The shared generator then takes over the copy's
weights. `MetaUpdate.tensors` holds them. Source: the generator of NAYER (arXiv 2310.00258) and the
schedule of its authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from fastdfkd.core.drawn_generator import CodesKeys, GeneratorShape, class_vectors, drawn_generator
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.persistent_generator import take_over
from fastdfkd.core.task import Task


class RenewedKeys(GeneratorShape, CodesKeys, Protocol):
    """The keys of a section that describe such a generator."""

    def life_of(self, round: int) -> int:
        """How often the generator was drawn anew before a round, the start apart."""


class RenewedGenerator:
    """Implements `SharedGenerator`. `version` counts what it learned and how often it was drawn."""

    def __init__(self, section: RenewedKeys, task: Task):
        self.section, self.task = section, task
        self.vectors = class_vectors(section, task)
        self.life = 0
        """Number of times that the generator was drawn anew."""
        self.born = 0
        """`version` after the last of them."""
        self.version = 0
        self.generator = self._drawn()

    def begin(self, round: int) -> None:
        """Draw the generator anew if that is due before `round`."""
        life = self.section.life_of(round)
        if life > self.life:
            self.life = life
            self.generator.load_state_dict(self._drawn().state_dict())
            self.version += 1
            self.born = self.version

    def update_of(
        self, round: int, summed_gradients: Sequence[Tensor], fast: Sequence[Tensor]
    ) -> MetaUpdate:
        """The update of a batch: copies of the last weights `fast`."""
        return MetaUpdate(round, [weights.clone() for weights in fast], self.version)

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Take over the weights of one batch exactly, or the mean of several (`take_over`).

        A batch that started before the generator was drawn anew has no influence.
        """
        newer = [update for update in updates if update.base >= self.born]
        if newer:
            weights = [parameter.detach() for parameter in self.generator.parameters()]
            take_over(weights, newer, self.version)
            self.version += 1

    def state_dict(self) -> dict[str, Any]:
        """Generator with class vectors, version, and when it was drawn."""
        return {
            "generator": self.generator.state_dict(),
            "version": self.version,
            "life": self.life,
            "born": self.born,
        }

    def shared_state(self) -> dict[str, Any]:
        """The whole state."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.generator.load_state_dict(state["generator"])
        self.version, self.life, self.born = state["version"], state["life"], state["born"]

    def _drawn(self) -> Any:
        """A generator with the weights of this life and the class vectors of the first."""
        keys = ("generator", self.life) if self.life else ("generator",)
        section, task = self.section, self.task
        return drawn_generator(
            section, task.image_shape, task.seed, *keys, device=task.device, vectors=self.vectors
        )
