"""A trainer's mirror of the bank: new batches are copied once into a ring on its own device."""

from __future__ import annotations

import logging
import time
import warnings
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

    def advance(self, updates: int) -> int:
        """Wait until more than `updates` updates are allowed, take in what is new.

        Returns:
            The number of updates that may have been made in all.

        Raises:
            BankClosed: synthesis failed or the run was stopped.
        """
        with self.clock.measure("idle"):
            grant = self._ask(updates)
        with self.clock.measure("storage"):
            for round, reference in zip(grant.rounds, grant.references, strict=True):
                self._take_in(round, reference)
        return int(grant.until)

    def _take_in(self, round: int, reference: Any) -> None:
        """Copy a round's images into the ring; its slots are passed over where they are gone."""
        if reference is None:
            self.buffer.inserted += self.batch_size
        else:
            self.buffer.extend(self._fetch(round, reference))
        self.rounds.append(round)

    def _fetch(self, round: int, reference: Any) -> torch.Tensor:
        """A round's images; where their node has taken them along, images that are here already."""
        try:
            return _as_tensor(ray.get(reference))
        except ObjectLostError:
            if len(self.buffer) < self.batch_size:
                raise
            log.warning("the images of round %d are lost with their node", round)
            return self.buffer.images[: self.batch_size].cpu()

    def _ask(self, updates: int) -> Any:
        since = answered = said = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                seen = len(self.rounds)
                grant = ray.get(self.bank.grant.remote(updates, seen, self.leader))
                answered = now
                if isinstance(grant, str):
                    raise BankClosed(grant)
                if grant is not None:
                    return grant
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
