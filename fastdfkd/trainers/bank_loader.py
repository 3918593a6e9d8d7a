"""A trainer's copy of the bank: each new batch is copied once into its ring."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ray
import torch
from ray.exceptions import ObjectLostError, RayActorError

from fastdfkd.core.clock import Clock
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY, SAY_EVERY_SECONDS
from fastdfkd.trainers.filed_images import FiledImages

log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Rounds that are fetched at the same time."""


class BankClosed(RuntimeError):
    """The bank grants no more updates, because the run is ending. The message gives the reason."""


class Ring(Protocol):
    """Where a loader copies images to."""

    def __len__(self) -> int:
        """Images that can be drawn."""

    def extend(self, images: torch.Tensor, *, lasting: bool = False) -> None:
        """Add images (B, C, H, W) uint8; see `SampleBuffer.extend`."""

    def first(self, count: int) -> torch.Tensor:
        """A copy of `count` of the images that can be drawn."""


class BankLoader:
    """Requests update grants from the bank and copies its new batches into `buffer`."""

    def __init__(self, bank: Any, buffer: Ring, clock: Clock, *, batch_size: int, leader: bool):
        self.bank, self.buffer, self.clock, self.leader = bank, buffer, clock, leader
        self.batch_size = batch_size
        self.rounds: list[int] = []
        """Numbers of the rounds copied so far, in the order of the bank."""
        self.lost: list[int] = []
        """Rounds among them whose images were lost with a node."""
        self._asked: Any = None

    def ask(self, updates: int) -> None:
        """Send the request of the next `advance(updates)` call now, without waiting."""
        self._asked = self.bank.grant.remote(updates, len(self.rounds), self.leader)

    def advance(self, updates: int, still_waiting: Callable[[], object] = lambda: None) -> int:
        """Wait until the bank allows more than `updates` updates; copy its new batches.

        Args:
            updates: number of updates made so far.
            still_waiting: called every few seconds of waiting.

        Returns:
            The total number of updates that the bank allows now.

        Raises:
            BankClosed: synthesis failed or the run was stopped.
        """
        with self.clock.measure("idle"):
            grant = self._granted(updates, still_waiting)
        with self.clock.measure("storage"):
            self._take_in(grant.rounds, grant.references)
        return int(grant.until)

    def _take_in(self, rounds: Sequence[int], references: Sequence[Any]) -> None:
        """Copy rounds into the ring; other images replace those that were evicted or lost."""
        for start in range(0, len(rounds), _AT_ONCE):  # of a resumed run there may be thousands
            part = slice(start, start + _AT_ONCE)
            self._take_in_part(rounds[part], references[part])

    def _take_in_part(self, rounds: Sequence[int], references: Sequence[Any]) -> None:
        sources = [_source(reference) for reference in references]
        coming = [source for source in sources if not isinstance(source, FiledImages | None)]
        if coming:
            ray.wait(coming, num_returns=len(coming))  # so that they are transferred in parallel
        found = [self._fetch(*each) for each in zip(rounds, sources, strict=True)]
        if any(images is None for images in found):
            stand_in = self._stand_in(rounds, found)
            found = [stand_in if images is None else images for images in found]
        for images, source in zip(found, sources, strict=True):
            assert images is not None
            self.buffer.extend(images, lasting=isinstance(source, FiledImages))
        self.rounds += rounds

    def _fetch(self, round: int, source: Any) -> torch.Tensor | None:
        """Images of a round; None if they were evicted, or lost with their node."""
        if source is None:
            return None
        try:
            if isinstance(source, FiledImages):
                return source.mapped()
            return as_tensor(ray.get(source))
        except (ObjectLostError, ValueError) as error:
            log.warning("the images of round %d are lost: %s", round, error)
            self.lost.append(round)
            return None

    def _stand_in(
        self, rounds: Sequence[int], found: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        for images in found:
            if images is not None:
                return images
        if len(self.buffer) >= self.batch_size:
            return self.buffer.first(self.batch_size)
        raise RuntimeError(
            f"the images of rounds {list(rounds)} were lost with their node, and no others are "
            "there to train on: start the run again, or resume it from its last checkpoint"
        )

    def _granted(self, updates: int, still_waiting: Callable[[], object]) -> Any:
        since = answered = said = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                if self._asked is None:
                    self.ask(updates)
                asked, self._asked = self._asked, None
                grant = ray.get(asked)
                answered = now
                if isinstance(grant, str):
                    raise BankClosed(grant)
                if grant is not None:
                    return grant
                still_waiting()
            except RayActorError as error:
                if now - answered > MOST_SECONDS_AWAY:
                    raise
                log.warning("the sample bank does not answer, trying again: %s", error)
                time.sleep(0.2)
            if now - said > SAY_EVERY_SECONDS:
                said = now
                log.info("update %d has waited %.0f s for images", updates, now - since)


def _source(reference: Any) -> Any:
    """Where to get images: a file here, or a reference to an object; None: they were evicted."""
    if isinstance(reference, FiledImages) and not reference.is_here:
        return reference.request()
    return reference


def as_tensor(images: Any) -> torch.Tensor:
    """An array of the object store as a tensor, without a copy. It is read-only; do not write."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(images)
