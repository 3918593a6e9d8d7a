"""A synthesizer actor that sleeps. It does not import torch, so 64 processes fit on one machine.

For each batch it makes the same calls as `SynthesizerActor`: it asks the board for a newer student,
makes a batch, reports the end to the board, and returns images and a record. Its methods are
coroutines, so one process can simulate many synthesizers. Without a board it only makes batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray


@ray.remote(num_cpus=0, max_concurrency=1000)
class SleepingActor:
    """Returns images of one shape after `seconds`."""

    def __init__(self, board: str | None, seconds: float, shape: tuple[int, ...]):
        self.board: Any = None if board is None else ray.get_actor(board)
        self.seconds = seconds
        self.images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    async def ready(self) -> bool:
        """Return once the actor has started."""
        return True

    async def join(self, board: str) -> None:
        """Report to another board from now on."""
        self.board = ray.get_actor(board)

    async def make(self) -> Any:
        """Return a batch without a record, for the measurement without a bank."""
        return self.images

    @ray.method(num_returns=2)
    async def synthesize(self, rounds: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
        """Return the same values as `SynthesizerActor.synthesize`."""
        records = [await self._record(round) for round, _ in rounds]
        return (*[self.images for _ in records], records)

    async def _record(self, round: int) -> dict[str, Any]:
        """Sleep for one round and return its record.

        The board gets the round as the id of the synthesizer: each round is in flight only once.
        """
        inputs = None if self.board is None else await self.board.begin.remote(round, round)
        started = time.time()
        await asyncio.sleep(self.seconds)
        finished = time.time()
        provenance = SimpleNamespace(
            round=round,
            synthesizer=0,
            student_version=0,
            generator_version=0,
            synthesis_seconds=finished - started,
            steps=0,
            losses={"loss": 1.0, "bn": 1.0, "oh": 1.0, "adv": 1.0},
            figures=None,
        )
        staleness = 0
        if inputs is not None and inputs.report_finish:
            staleness = await self.board.finish.remote(round, None, None)
        record = {
            "provenance": provenance,
            "images": len(self.images),
            "staleness": staleness,
            "started": started,
            "finished": finished,
            "idle": 0.0,
            "memory": 0,
            "refusal": None,
        }
        return record
