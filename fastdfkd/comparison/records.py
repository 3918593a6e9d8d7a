"""The data of a comparison: finished runs by setting, one setting being the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.runs.figures import FIGURES, main_figure, measured
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run."""

    label: str
    """Label of its setting. The runs of a setting differ in the seed only."""
    result: RunResult
    images: ImageSpec
    """What its images are; runs of one data set have equal ones."""
    folder: Path
    """Contains `metrics.csv` and, if the run kept it, `samples.png`."""
    reused: bool
    """Whether it is an earlier run, not one that this comparison made."""

    def seconds_to(self, target: float | None, figure: str = "accuracy") -> float | None:
        """End-to-end seconds at the first evaluation whose `figure` is at least `target`.

        None if there is none, or `target` is None.
        """
        if target is None:
            return None
        for row in read_rows(self.folder / "metrics.csv"):
            if row.get(figure, -1.0) >= target and "end_to_end_seconds" in row:
                return row["end_to_end_seconds"]
        return None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Finished runs of several settings."""

    reference: str
    """Label of the setting that counts as 1x."""
    runs: dict[str, list[RunRecord]]
    """Runs by label, in the order of the table. The runs of a setting are in order of seed."""
    target_accuracy: float | None
    """The table shows the time until `figure` has this value, 0 to 1.

    None: none was given, and not every run has that figure.
    """
    title: str

    @property
    def figure(self) -> str:
        """What students are compared by, as a column of `metrics.csv`; see `main_figure`."""
        return figure_of(self.runs)


def figure_of(runs: Mapping[str, Sequence[RunRecord]]) -> str:
    """The figure by which all these runs can be compared."""
    every = [
        measured(run.result.model_dump(include=set(FIGURES)))
        for group in runs.values()
        for run in group
    ]
    return main_figure([name for name in FIGURES if all(name in found for found in every)])
