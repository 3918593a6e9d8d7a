"""The driver's copy of the bank's state, from which a restarted bank is restored.

Its references keep images in Ray's object store until a checkpoint has them. From then on it holds
`FiledImages` instead, and the checkpoint's file is the only copy apart from the trainers' own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectLostError

from fastdfkd.trainers.filed_images import FiledImages


class History:
    """Insertions in the bank's order."""

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
        """(round, reference or `FiledImages`) in the bank's order; None instead once evicted."""
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

    def file(self, files: Mapping[int, Path], node: str) -> dict[int, FiledImages | None]:
        """Replace references to images that a checkpoint has, and to files that are deleted.

        Args:
            files: the image segment with each round.
            node: Ray's id of this node.

        Returns:
            What changed, by round; None where a file was deleted: the bank has evicted the round.
        """
        changed: dict[int, FiledImages | None] = {}
        for position in range(self._evicted, len(self.insertions)):
            round, reference = self.insertions[position]
            filed = isinstance(reference, FiledImages)
            if reference is not None and not filed and round in files:
                changed[round] = FiledImages(node, files[round], round)
            elif filed and not reference.path.exists():
                changed[round] = None
            else:
                continue
            self.insertions[position] = (round, changed[round])
        return changed

    def newest_images(self) -> Any:
        """Images of the newest batch that is not lost, (B, C, H, W) uint8.

        Raises:
            RuntimeError: the images of all batches are lost.
        """
        for _, reference in reversed(self.insertions):
            if reference is not None:
                with contextlib.suppress(ObjectLostError, ValueError):
                    return images_behind(reference)
        raise RuntimeError("the images of every batch are lost with their nodes")

    def held(self, rounds: Sequence[int]) -> list[int]:
        """Those of `rounds` whose images are not evicted, in the same order."""
        held = {round for round, reference in self.insertions if reference is not None}
        return [round for round in rounds if round in held]

    def references_of(self, rounds: Sequence[int]) -> dict[int, Any]:
        """The reference or `FiledImages` of each round, in the same order."""
        references = dict(self.insertions)
        return {round: references[round] for round in rounds}


def images_behind(reference: Any) -> Any:
    """Images (B, C, H, W) uint8 of a reference or `FiledImages`, as an array.

    Raises:
        ObjectLostError: they were lost with their node.
        ValueError: their file is missing or damaged.
    """
    if isinstance(reference, FiledImages):
        return reference.mapped().numpy()
    return ray.get(reference)
