"""A trainer's mirror of the bank: new batches are copied once into a ring on its own device."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import ray
import torch

from fastdfkd.core.clock import Clock
from fastdfkd.core.sample_buffer import SampleBuffer

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
        self.seen = 0

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
            self.buffer.inserted += grant.skipped * self.batch_size
            for images in ray.get(grant.new):
                self.buffer.extend(_as_tensor(images))
            self.seen += grant.skipped + len(grant.new)
        return int(grant.until)

    def _ask(self, updates: int) -> Any:
        start = time.monotonic()
        while True:
            grant = ray.get(self.bank.grant.remote(updates, self.seen, self.leader))
            if isinstance(grant, str):
                raise BankClosed(grant)
            if grant is not None:
                return grant
            state = ray.get(self.bank.state.remote())
            log.info(
                "waiting for images since %.0f s at update %d; bank: %s",
                time.monotonic() - start,
                updates,
                state,
            )


def _as_tensor(images: Any) -> torch.Tensor:
    """The store's array as a tensor without a copy; torch warns that it is read-only, as it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(images)
