"""What the synthesizers have done: one small record a batch, and sums over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from fastdfkd.core.batch import Provenance
from fastdfkd.runs.metrics import FAULTS


@dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """A batch that is in the bank."""

    round: int
    images: int
    synthesis_seconds: float
    storage_seconds: float
    """Finished batch (the last of its call) to reference in the bank; a call's are shared out."""
    idle_seconds: float
    """Its synthesizer's wait before it."""
    staleness: int
    """Student versions between the one used and the newest when the batch was done."""
    losses: dict[str, float]
    peak_memory_bytes: int = 0
    """Most that its synthesizer had held by then."""

    @classmethod
    def of(cls, made: dict[str, Any], storage_seconds: float) -> BatchRecord:
        """From what a synthesizer returned, and the batch's share of its call's way."""
        provenance: Provenance = made["provenance"]
        return cls(
            round=provenance.round,
            images=made["images"],
            synthesis_seconds=provenance.synthesis_seconds,
            storage_seconds=storage_seconds,
            idle_seconds=made["idle"],
            staleness=made["staleness"],
            losses=dict(provenance.losses),
            peak_memory_bytes=made["memory"],
        )


def idle_ratio(idle: float, working: float) -> float:
    """Share of a role's time that it waited for the other, 0 to 1."""
    return idle / max(idle + working, 1e-9)


@dataclass
class SynthesisTotals:
    """Sums over the batches so far, and the faults."""

    records: list[BatchRecord] = field(default_factory=list)
    """In the order of insertion."""
    started: float = float("inf")
    """Unix time of the first draw; in a resumed run moved by what had already passed."""
    trainer_began: float | None = None
    """Unix time of the first trainer's first wait for images; likewise."""
    restarts: int = 0
    """Synthesizers that died and came back."""
    worker_restarts: int = 0
    """Groups of training workers that did."""
    bank_restarts: int = 0
    board_restarts: int = 0
    rejected: int = 0
    """Batches refused at the bank's door."""
    lost: int = 0
    """Rounds whose images were gone when the run was resumed."""

    @property
    def startup_wait(self) -> float:
        """Seconds that the first trainer waited before anybody drew, when nobody was late."""
        return 0.0 if self.trainer_began is None else max(self.started - self.trainer_began, 0.0)

    def sum(self, name: str) -> float:
        """Sum of a figure over the batches."""
        return float(sum(getattr(record, name) for record in self.records))

    @property
    def images(self) -> int:
        """Images inserted."""
        return sum(record.images for record in self.records)

    @property
    def max_staleness(self) -> int:
        """Over all batches."""
        return max((record.staleness for record in self.records), default=0)

    @property
    def peak_memory_bytes(self) -> int:
        """Most that one synthesizer has held."""
        return max((record.peak_memory_bytes for record in self.records), default=0)

    @property
    def idle_ratio(self) -> float:
        """Of all synthesizers together."""
        return idle_ratio(self.sum("idle_seconds"), self.sum("synthesis_seconds"))

    @property
    def faults(self) -> dict[str, int]:
        """Counts by their column."""
        return {name: getattr(self, name) for name in FAULTS}

    def row(self) -> dict[str, float]:
        """The synthesis half of a progress row."""
        newest = self.records[-1] if self.records else None
        losses = newest.losses if newest else {}
        seconds = self.sum("synthesis_seconds")
        return {
            "rounds": len(self.records),
            "images": self.images,
            "staleness": newest.staleness if newest else 0,
            "synthesis_seconds": seconds,
            "storage_seconds": self.sum("storage_seconds"),
            "synthesizer_idle_seconds": self.sum("idle_seconds"),
            "synthesizer_idle_ratio": self.idle_ratio,
            "synthesizer_peak_memory_bytes": self.peak_memory_bytes,
            "images_per_second": self.images / max(seconds, 1e-9),
            **self.faults,
            **{f"{'synthesis' if n == 'loss' else n}_loss": v for n, v in losses.items()},
        }

    def state(self, rounds: Iterable[int], elapsed: float) -> dict[str, Any]:
        """For a checkpoint that holds `rounds` and stands `elapsed` seconds after the start."""
        held = set(rounds)
        return {
            "records": [asdict(record) for record in self.records if record.round in held],
            "elapsed": elapsed,
            "startup_wait": self.startup_wait,
            **self.faults,
        }

    @classmethod
    def load(cls, state: dict[str, Any], evaluation_seconds: float) -> SynthesisTotals:
        """Go on from `state()`, the clock starting now.

        Args:
            state: of the checkpoint.
            evaluation_seconds: that the trainer had spent, which are not in `elapsed`.
        """
        import time

        started = time.time() - state["elapsed"] - evaluation_seconds
        return cls(
            records=[BatchRecord(**record) for record in state["records"]],
            started=started,
            trainer_began=started - state.get("startup_wait", 0.0),
            **{name: state[name] for name in FAULTS},
        )
