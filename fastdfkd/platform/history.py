"""What a run has made so far, as its driver knows it: enough to tell a new bank what it was."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ObjectLostError


class History:
    """Insertions in the bank's order. The references are what keeps the images alive."""

    def __init__(
        self, keeps_rounds: int, insertions: Sequence[tuple[int, Any]] = (), updates: int = 0
    ):
        """Begin a run's history, or go on with a resumed run's.

        Args:
            keeps_rounds: newest rounds whose images `evict` leaves.
            insertions: (round, reference) in the bank's order.
            updates: student updates made.
        """
        self.keeps_rounds, self._evicted = keeps_rounds, 0
        self.insertions: list[tuple[int, Any]] = list(insertions)
        """(round, reference) in order; the reference is None once let go."""
        self.working: set[int] = set()
        """Rounds that synthesizers are at."""
        self.updates = updates
        """Student updates that the driver last heard of."""

    def __len__(self) -> int:
        """Rounds ever inserted."""
        return len(self.insertions)

    def add(self, round: int, reference: Any) -> None:
        """The bank has taken a round."""
        self.working.discard(round)
        self.insertions.append((round, reference))

    def evict(self, rounds: int) -> None:
        """Let go of the images that no checkpoint needs any more.

        A checkpoint of the trainer is written a little later than it was taken, from references
        that the bank may have given up: some rounds more than it keeps are held until then.

        Args:
            rounds: length of the history when the last checkpoint was asked for.
        """
        for place in range(self._evicted, rounds - self.keeps_rounds):
            self.insertions[place] = (self.insertions[place][0], None)
            self._evicted = place + 1

    def newest_images(self) -> Any:
        """Images of the newest batch that is not lost, (B, C, H, W) uint8, read from the store."""
        for _, reference in reversed(self.insertions):
            if reference is not None:
                with contextlib.suppress(ObjectLostError):
                    return ray.get(reference)
        raise RuntimeError("the images of every batch are lost with their nodes")

    def held(self, rounds: Sequence[int]) -> list[int]:
        """Those of `rounds` whose images are not evicted, in the same order."""
        there = {round for round, reference in self.insertions if reference is not None}
        return [round for round in rounds if round in there]

    def images_of(self, rounds: Sequence[int]) -> list[Any]:
        """Images of rounds that are still held, read from the store."""
        references = dict(self.insertions)
        return list(ray.get([references[round] for round in rounds]))
