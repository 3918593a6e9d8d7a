"""A trainer's mirror of the bank: new batches are copied once into a ring on its own device."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ray
import torch
from ray.exceptions import ObjectLostError, RayActorError

from fastdfkd.core.clock import Clock
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.trainers.calls import MOST_SECONDS_AWAY, SAY_EVERY_SECONDS

log = logging.getLogger(__name__)


class BankClosed(RuntimeError):
    """The bank will give no more leave: the run is ending, for the reason in the message."""


class BankLoader:
    """Asks the bank for leave to go on and keeps `buffer` as the bank is."""

    def __init__(
        self, bank: Any, buffer: SampleBuffer, clock: Clock, *, batch_size: int, leader: bool
    ):
        self.bank, self.buffer, self.clock, self.leader = bank, buffer, clock, leader
        self.batch_size = batch_size
        self.rounds: list[int] = []
        """Numbers of the rounds taken in, in the bank's order."""
        self.lost: list[int] = []
        """Those of them whose images were lost with a node."""
        self._asked: Any = None

    def ask(self, updates: int) -> None:
        """Put the question of `advance(updates)` already, which comes next."""
        self._asked = self.bank.grant.remote(updates, len(self.rounds), self.leader)

    def advance(self, updates: int, still_waiting: Callable[[], object] = lambda: None) -> int:
        """Wait until more than `updates` updates are allowed, take in what is new.

        Args:
            updates: that were made.
            still_waiting: called every few seconds of waiting.

        Returns:
            The number of updates that may have been made in all.

        Raises:
            BankClosed: synthesis failed or the run was stopped.
        """
        with self.clock.measure("idle"):
            grant = self._granted(updates, still_waiting)
        with self.clock.measure("storage"):
            self._take_in(grant.rounds, grant.references)
        return int(grant.until)

    def _take_in(self, rounds: Sequence[int], references: Sequence[Any]) -> None:
        """Copy rounds into the ring; images that are here stand in for those that are gone."""
        held = [reference for reference in references if reference is not None]
        if held:
            ray.wait(held, num_returns=len(held))  # so that they come side by side
        found = [self._fetch(*each) for each in zip(rounds, references, strict=True)]
        if any(images is None for images in found):
            stand_in = self._stand_in(rounds, found)
            found = [stand_in if images is None else images for images in found]
        for images in found:
            assert images is not None
            self.buffer.extend(images)
        self.rounds += rounds

    def _fetch(self, round: int, reference: Any) -> torch.Tensor | None:
        """A round's images; None where they were evicted, or lost with their node."""
        if reference is None:
            return None
        try:
            return _as_tensor(ray.get(reference))
        except ObjectLostError:
            log.warning("the images of round %d are lost with their node", round)
            self.lost.append(round)
            return None

    def _stand_in(
        self, rounds: Sequence[int], found: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        for images in found:
            if images is not None:
                return images
        if len(self.buffer) >= self.batch_size:
            return self.buffer.images[: self.batch_size].clone()
        raise RuntimeError(
            f"the images of rounds {list(rounds)} are lost with their node before any others came"
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
                log.warning("the sample bank is away: %s", error)
                time.sleep(0.2)
            if now - said > SAY_EVERY_SECONDS:
                said = now
                log.info("waiting for images since %.0f s at update %d", now - since, updates)


def _as_tensor(images: Any) -> torch.Tensor:
    """The store's array as a tensor without a copy; torch warns that it is read-only, as it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(images)
