"""Random numbers as a pure function of the seed, their purpose and the number of round or update.

Every batch and every update draws from its own stream. A resumed run, a restarted actor or a second
worker therefore needs no saved generator state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fastdfkd.core import torch_versions


def stream_seed(seed: int, *keys: str | int) -> int:
    """A 63-bit seed for the stream named by `keys`; the SHA-256 of seed and keys."""
    text = "/".join(map(str, (seed, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *keys: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` at the start of the stream named by `keys`."""
    return torch.Generator(device).manual_seed(stream_seed(seed, *keys))


def batch_stream(round: int, attempt: int = 0) -> tuple[str | int, ...]:
    """Keys of the stream of a batch. A batch that is made again (`attempt` > 0) has another."""
    return ("synthesis", round, attempt) if attempt else ("synthesis", round)


@contextmanager
def seeded(seed: int, *keys: str | int) -> Iterator[None]:
    """Seed torch's global CPU generator for a block, such as the initialisation of a module."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, *keys))
        yield


@contextmanager
def seeded_on(device: torch.device | str, seed: int, *keys: str | int) -> Iterator[None]:
    """As `seeded`, for the generator of a device: dropout there draws from it. It takes 7 us.

    The generator continues afterwards as if the block had drawn nothing.
    """
    generator = torch_versions.default_generator(torch.device(device))
    state = generator.get_state()
    generator.manual_seed(stream_seed(seed, *keys))
    try:
        yield
    finally:
        generator.set_state(state)
