"""The driver's copy of the bank's state, from which a restarted bank is restored."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ObjectLostError


class History:
    """Insertions in the bank's order. Its references keep the images in the object store."""

    def __init__(
        self, keeps_rounds: int, insertions: Sequence[tuple[int, Any]] = (), updates: int = 0
    ):
        """Begin an empty history, or continue that of a resumed run.

        Args:
            keeps_rounds: number of newest rounds whose images `evict` keeps.
            insertions: (round, reference) in the bank's order.
            updates: student updates made.
        """
        self.keeps_rounds, self._evicted = keeps_rounds, 0
        self.insertions: list[tuple[int, Any]] = list(insertions)
        """(round, reference) in the bank's order; the reference is None once evicted."""
        self.in_progress: set[int] = set()
        """Rounds that synthesizers are making."""
        self.updates = updates
        """Student updates made, from the trainer's newest progress row."""

    def __len__(self) -> int:
        """Number of rounds ever inserted."""
        return len(self.insertions)

    def add(self, round: int, reference: Any) -> None:
        """Record a round that the bank has inserted."""
        self.in_progress.discard(round)
        self.insertions.append((round, reference))

    def evict(self, rounds: int) -> None:
        """Drop the references to images that no checkpoint needs any more.

        A checkpoint's images are written shortly after the trainer's state was taken, when the bank
        may have evicted them. So the history keeps some rounds more than the bank.

        Args:
            rounds: length of the history when checkpoints were last collected.
        """
        for position in range(self._evicted, rounds - self.keeps_rounds):
            self.insertions[position] = (self.insertions[position][0], None)
            self._evicted = position + 1

    def newest_images(self) -> Any:
        """Images of the newest batch that is not lost, (B, C, H, W) uint8.

        Raises:
            RuntimeError: the images of all batches are lost.
        """
        for _, reference in reversed(self.insertions):
            if reference is not None:
                with contextlib.suppress(ObjectLostError):
                    return ray.get(reference)
        raise RuntimeError("the images of every batch are lost with their nodes")

    def held(self, rounds: Sequence[int]) -> list[int]:
        """Those of `rounds` whose images are not evicted, in the same order."""
        held = {round for round, reference in self.insertions if reference is not None}
        return [round for round in rounds if round in held]

    def images_of(self, rounds: Sequence[int]) -> list[Any]:
        """Images of rounds that are not evicted, (B, C, H, W) uint8 each."""
        references = dict(self.insertions)
        return list(ray.get([references[round] for round in rounds]))
