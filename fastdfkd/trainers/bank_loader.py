"""A trainer's copy of the bank: each new batch is copied once into a ring on its device."""

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

log = logging.getLogger(__name__)


class BankClosed(RuntimeError):
    """The bank grants no more updates, because the run is ending. The message gives the reason."""


class Ring(Protocol):
    """Where a loader copies images to."""

    def __len__(self) -> int:
        """Images that can be drawn."""

    def extend(self, images: torch.Tensor) -> None:
        """Add images (B, C, H, W) uint8."""

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
        held = [reference for reference in references if reference is not None]
        if held:
            ray.wait(held, num_returns=len(held))  # so that they are transferred in parallel
        found = [self._fetch(*each) for each in zip(rounds, references, strict=True)]
        if any(images is None for images in found):
            stand_in = self._stand_in(rounds, found)
            found = [stand_in if images is None else images for images in found]
        for images in found:
            assert images is not None
            self.buffer.extend(images)
        self.rounds += rounds

    def _fetch(self, round: int, reference: Any) -> torch.Tensor | None:
        """Images of a round; None if they were evicted, or lost with their node."""
        if reference is None:
            return None
        try:
            return as_tensor(ray.get(reference))
        except ObjectLostError:
            log.warning("the images of round %d were lost with their node", round)
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


def as_tensor(images: Any) -> torch.Tensor:
    """An array of the object store as a tensor, without a copy. It is read-only; do not write."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(images)
