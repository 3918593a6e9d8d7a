"""The driver's side of synthesis: gives rounds to synthesizers and their batches to the bank.

The driver calls the synthesizers, so it owns their batches: a batch outlives the actor that made
it, and a bank that restarts could be told of them again. A round is the unit of retry: when a
synthesizer dies its round goes back to the bank and is made by whoever is free.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError

log = logging.getLogger(__name__)

MOST_DEATHS_IN_A_ROW = 10
"""Deaths of one synthesizer without a batch between them after which the run gives up."""


@dataclass
class SynthesisTotals:
    """What the synthesizers have done so far, summed over them."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """`synthesis`, `storage` (finished batch to bank) and `idle`."""
    rounds: int = 0
    images: int = 0
    started: float = float("inf")
    """Unix time of the first draw."""
    max_staleness: int = 0
    staleness: int = 0
    """Of the newest batch."""
    losses: dict[str, float] = field(default_factory=dict)
    """Of the newest batch."""
    restarts: int = 0

    def add(self, record: dict[str, Any], stored: float) -> None:
        """Count a batch that was in the bank at Unix time `stored`."""
        provenance = record["provenance"]
        self.seconds["synthesis"] += provenance.synthesis_seconds
        self.seconds["storage"] += max(stored - record["finished"], 0.0)
        self.seconds["idle"] += record["idle"]
        self.rounds += 1
        self.images += len(record["labels"])
        self.started = min(self.started, record["started"])
        self.staleness = record["staleness"]
        self.max_staleness = max(self.max_staleness, self.staleness)
        self.losses = dict(provenance.losses)

    def row(self) -> dict[str, float]:
        """The synthesis half of a progress row."""
        seconds = self.seconds
        losses = {f"{'synthesis' if n == 'loss' else n}_loss": v for n, v in self.losses.items()}
        return {
            "rounds": self.rounds,
            "images": self.images,
            "staleness": self.staleness,
            "synthesis_seconds": seconds["synthesis"],
            "storage_seconds": seconds["storage"],
            "synthesizer_idle_seconds": seconds["idle"],
            "images_per_second": self.images / max(seconds["synthesis"], 1e-9),
            **losses,
        }


class Dispatcher:
    """Runs an event loop beside the driver while the student trains. Use as a context manager.

    Its first error ends it and is kept in `error`; the bank is closed so that the trainer ends.
    """

    def __init__(self, bank: Any, board: Any, synthesizers: Sequence[Any]):
        self.bank, self.board, self.synthesizers = bank, board, synthesizers
        self.totals = SynthesisTotals()
        self.error: BaseException | None = None
        self.sample: Any = None
        """Images of the newest batch, (B, C, H, W) uint8."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def __enter__(self) -> Dispatcher:
        """Start giving out rounds."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop giving out rounds and wait for the loop to end."""
        self._stop.set()
        self._thread.join(timeout=30)

    def newest_images(self) -> Any:
        """Images of the newest inserted batch, read from the store."""
        return None if self.sample is None else ray.get(self.sample)

    def _run(self) -> None:
        try:
            asyncio.run(self._drive_all())
        except BaseException as error:  # handed to the driver, which raises it
            self.error = error
            ray.get(self.bank.close.remote(str(error)))

    async def _drive_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for index, actor in enumerate(self.synthesizers):
                group.create_task(self._drive(index, actor))

    async def _drive(self, index: int, actor: Any) -> None:
        deaths = 0
        while not self._stop.is_set():
            round = await self.bank.reserve.remote()
            if round is None:
                if await self.bank.done.remote():
                    return
                continue
            images, record = actor.synthesize.options(num_returns=2).remote(round)
            try:
                made = await record
            except RayActorError as error:
                deaths += 1
                await self._recover(index, round, deaths, error)
                continue
            deaths = 0
            await self.bank.insert.remote(round, [images])
            self.totals.add(made, time.time())
            self.sample = images

    async def _recover(self, index: int, round: int, deaths: int, error: RayActorError) -> None:
        self.totals.restarts += 1
        log.warning("synthesizer %d died in round %d (death %d in a row)", index, round, deaths)
        await self.board.abandon.remote(index)
        await self.bank.release.remote(round)
        if deaths >= MOST_DEATHS_IN_A_ROW:
            raise RuntimeError(
                f"synthesizer {index} died {deaths} times in a row without a batch; the last time: "
                f"{error}"
            ) from error
        await asyncio.sleep(min(0.1 * 2**deaths, 5.0))
