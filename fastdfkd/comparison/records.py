"""What a comparison holds: the finished runs of several settings, and the reference among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run."""

    label: str
    """Of its setting; runs of one setting differ in the seed alone."""
    result: RunResult
    images: ImageSpec
    """What its images are; runs of one data set have equal ones."""
    folder: Path
    """Holds `metrics.csv`, and `samples.png` where it was kept."""
    reused: bool
    """Whether it was found instead of run."""

    def seconds_to(self, accuracy: float | None) -> float | None:
        """End-to-end seconds at the first evaluation with that accuracy; None if there is none."""
        if accuracy is None:
            return None
        for row in read_rows(self.folder / "metrics.csv"):
            if row.get("accuracy", -1.0) >= accuracy and "end_to_end_seconds" in row:
                return row["end_to_end_seconds"]
        return None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs of several settings; every setting has the reference's seeds, or fewer."""

    reference: str
    """Label of the 1x."""
    runs: dict[str, list[RunRecord]]
    """By label, in the order of the table; runs in the order of their seeds."""
    goal: float | None
    """The named accuracy, 0 to 1; None: none is named, and not every run has an accuracy."""
    title: str
