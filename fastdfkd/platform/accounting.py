"""Accounting of synthesis: one record per batch, and the sums over all batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fastdfkd.core.batch import Provenance
from fastdfkd.core.batch_figures import BatchFigures
from fastdfkd.core.collapse import MOST_ROUNDS
from fastdfkd.runs.metrics import FAULTS


@dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """Figures of one batch in the bank."""

    round: int
    images: int
    synthesis_seconds: float
    storage_seconds: float
    """From the end of the call's last batch to its reference in the bank, divided by the call's
    batches."""
    idle_seconds: float
    """Seconds that its synthesizer waited before it."""
    staleness: int
    """Student versions between the one used and the newest at the end of the batch."""
    losses: dict[str, float]
    figures: BatchFigures | None = None
    """Signs of a collapse; None: not measured, or too old to matter."""
    peak_memory_bytes: int = 0
    """Peak memory of its synthesizer up to then."""
    steps: int = 0
    """Its optimisation steps; 0: the method has none, or an earlier release made the batch."""

    @classmethod
    def saved(cls, *, figures: dict[str, Any] | None = None, **record: Any) -> BatchRecord:
        """From the fields in a checkpoint."""
        return cls(figures=BatchFigures(**figures) if figures else None, **record)

    @classmethod
    def of(cls, record: dict[str, Any], storage_seconds: float) -> BatchRecord:
        """From a record that `SynthesizerActor.synthesize` returned."""
        provenance: Provenance = record["provenance"]
        return cls(
            round=provenance.round,
            images=record["images"],
            synthesis_seconds=provenance.synthesis_seconds,
            storage_seconds=storage_seconds,
            idle_seconds=record["idle"],
            staleness=record["staleness"],
            losses=dict(provenance.losses),
            figures=provenance.figures,
            peak_memory_bytes=record["memory"],
            steps=provenance.steps,
        )


def idle_ratio(idle: float, working: float) -> float:
    """Share of a role's time that it waited for the other role, 0 to 1."""
    return idle / max(idle + working, 1e-9)


@dataclass
class SynthesisTotals:
    """Sums over the batches so far, and counts of faults."""

    records: list[BatchRecord] = field(default_factory=list)
    """In the order of insertion."""
    started: float = float("inf")
    """Unix time of the first synthesis; a resumed run subtracts the seconds that the run had taken
    before."""
    trainer_began: float | None = None
    """Unix time at which the first trainer began to wait for images; shifted likewise."""
    restarts: int = 0
    """Synthesizers that died and were restarted."""
    worker_restarts: int = 0
    """Restarts of the group of training workers."""
    bank_restarts: int = 0
    board_restarts: int = 0
    rejected: int = 0
    """Batches that were refused and made again."""
    lost: int = 0
    """Rounds whose images were gone when the run was resumed."""
    gone: set[int] = field(default_factory=set)
    """Those rounds. A later resume does not count them again."""
    earlier_classes: dict[int, int] = field(default_factory=dict)
    """`classes` of the batches before a checkpoint whose records have no figures any more."""

    @property
    def startup_wait(self) -> float:
        """Seconds of start-up: the first trainer's wait before the first synthesis."""
        return 0.0 if self.trainer_began is None else max(self.started - self.trainer_began, 0.0)

    def count_gone(self, rounds: Iterable[int]) -> None:
        """Count rounds whose images the checkpoint does not have."""
        new = set(rounds) - self.gone
        self.gone |= new
        self.lost += len(new)

    def sum(self, name: str) -> float:
        """Sum of a `BatchRecord` field over the batches."""
        return float(sum(getattr(record, name) for record in self.records))

    @property
    def images(self) -> int:
        """Images inserted."""
        return sum(record.images for record in self.records)

    @property
    def classes(self) -> Counter[int]:
        """Images of all batches by the class that the teacher assigned to them; or pixels.

        It is that of the step that was kept. Images made before a checkpoint of an earlier release
        are missing.
        """
        counts = Counter(self.earlier_classes)
        for record in self.records:
            if record.figures is not None:
                counts.update(record.figures.classes)
        return counts

    @property
    def max_staleness(self) -> int:
        """Largest staleness of a batch, in student versions."""
        return max((record.staleness for record in self.records), default=0)

    @property
    def peak_memory_bytes(self) -> int:
        """Largest peak memory of one synthesizer."""
        return max((record.peak_memory_bytes for record in self.records), default=0)

    @property
    def idle_ratio(self) -> float:
        """Idle ratio of all synthesizers together, 0 to 1."""
        return idle_ratio(self.sum("idle_seconds"), self.sum("synthesis_seconds"))

    @property
    def steps(self) -> list[int]:
        """Optimisation steps of each batch that has them."""
        return [record.steps for record in self.records if record.steps]

    def idle_notes(self) -> list[str]:
        """What `platform.use_idle` came to, as a sentence."""
        if not self.steps:
            return ["platform.use_idle had no effect: the method has no synthesis.steps"]
        mean = sum(self.steps) / len(self.steps)
        return [
            f"platform.use_idle: batches had {min(self.steps)} to {max(self.steps)} steps, "
            f"{mean:.1f} on average"
        ]

    @property
    def faults(self) -> dict[str, int]:
        """Fault counts by column of `metrics.csv`."""
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
            "synthesis_steps": newest.steps if newest else 0,
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
        """State for a checkpoint of `rounds`, `elapsed` seconds after the first synthesis."""
        saved = set(rounds)
        records = [record for record in self.records if record.round in saved]
        old = len(records) - MOST_ROUNDS
        earlier = Counter(self.earlier_classes)
        for record in records[: max(old, 0)]:
            earlier.update(record.figures.classes if record.figures else {})
        records = [
            replace(record, figures=None) if position < old else record
            for position, record in enumerate(records)
        ]
        return {
            "classes": dict(earlier),
            "records": [asdict(record) for record in records],
            "elapsed": elapsed,
            "startup_wait": self.startup_wait,
            "gone": sorted(self.gone),
            **self.faults,
        }

    @classmethod
    def load(cls, state: dict[str, Any], evaluation_seconds: float) -> SynthesisTotals:
        """Totals that continue from `state`, with the clock running again from now.

        Args:
            state: what `state()` returned for the checkpoint.
            evaluation_seconds: evaluation time up to the checkpoint, which `elapsed` leaves out.
        """
        import time

        started = time.time() - state["elapsed"] - evaluation_seconds
        return cls(
            records=[BatchRecord.saved(**record) for record in state["records"]],
            started=started,
            trainer_began=started - state.get("startup_wait", 0.0),
            earlier_classes=state.get("classes", {}),
            gone=set(state.get("gone", ())),
            **{name: state[name] for name in FAULTS},
        )
