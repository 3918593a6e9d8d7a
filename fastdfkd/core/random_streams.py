"""Random numbers as a pure function of (seed, what they are for, when).

Every batch and every update draws from a stream of its own, so a resumed run, a restarted actor
and a second worker need no saved generator state: the round's or update's number is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream_seed(seed: int, *keys: str | int) -> int:
    """A 63-bit seed for the stream named by `keys`, independent of every other stream's."""
    text = "/".join(map(str, (seed, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *keys: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` at the start of the stream named by `keys`."""
    return torch.Generator(device).manual_seed(stream_seed(seed, *keys))


def batch_stream(round: int, attempt: int = 0) -> tuple[str | int, ...]:
    """Keys of the stream that a batch draws from; a batch made again draws from another."""
    return ("synthesis", round, attempt) if attempt else ("synthesis", round)


@contextmanager
def seeded(seed: int, *keys: str | int) -> Iterator[None]:
    """Run a block (module initialisation) with torch's global CPU generator on a stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, *keys))
        yield
