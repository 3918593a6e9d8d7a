"""A synthesizer actor that sleeps, light enough for 64 processes: it does not import torch.

Towards dispatcher, board and object store it does what `SynthesizerActor` does for each batch: asks
the board for weights, makes a batch, reports it, returns images and a record. Its calls are
coroutines, so one process can also play many synthesizers. Without a board it makes batches alone.
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
    """Answers `synthesize` after `seconds` with images of one shape."""

    def __init__(self, board: str | None, seconds: float, shape: tuple[int, ...]):
        self.board: Any = None if board is None else ray.get_actor(board)
        self.seconds = seconds
        self.images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    async def ready(self) -> bool:
        """Answers once the actor is there."""
        return True

    async def make(self) -> Any:
        """A batch and nothing else, for a comparison without a bank."""
        return self.images

    @ray.method(num_returns=2)
    async def synthesize(self, rounds: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
        """What `SynthesizerActor.synthesize` returns."""
        records = [await self._record(round) for round, _ in rounds]
        return (*[self.images for _ in records], records)

    async def _record(self, round: int) -> dict[str, Any]:
        """Take the time of a round.

        A round is in flight once, so it is the key under which the board knows who is at work.
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
            losses={"loss": 1.0, "bn": 1.0, "oh": 1.0, "adv": 1.0},
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
