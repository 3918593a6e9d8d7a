"""A comparison of made-up runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.comparison.records import Comparison, RunRecord
from fastdfkd.data import DATASETS
from fastdfkd.runs.metrics import RowFile
from fastdfkd.runs.result import RunResult


def memory(synthesizer: int, trainer: int) -> dict[str, int]:
    """Peak memory figures; the arguments are in MiB."""
    return {
        "synthesizer_peak_memory_bytes": synthesizer * 2**20,
        "trainer_peak_memory_bytes": trainer * 2**20,
    }


@pytest.fixture
def comparison(tmp_path: Path, make_result: Callable[..., RunResult]) -> Comparison:
    """A slow reference on 32 images, and two settings on 100; two seeds each."""

    def run(label: str, seed: int, **figures: Any) -> RunRecord:
        folder = tmp_path / f"{label}-{seed}"
        folder.mkdir()
        last = figures["accuracy"]
        with RowFile(folder / "metrics.csv") as rows:
            rows.append({"updates": 25, "accuracy": last - 0.3, "end_to_end_seconds": 4.0})
            rows.append({"updates": 50, "synthesis_seconds": 1.0, "end_to_end_seconds": 6.0})
            rows.append({"updates": 50, "accuracy": last, "end_to_end_seconds": 8.0})
        result = make_result(recipe=label, seed=seed, **figures)
        images = DATASETS["digits"][0]
        return RunRecord(label=label, result=result, images=images, folder=folder, reused=seed == 1)

    slow = {"images": 32, "synthesis_seconds": 64.0}
    return Comparison(
        reference="slow",
        runs={
            "slow": [run("slow", s, accuracy=0.5, **slow) for s in (0, 1)],
            "quick": [
                run("quick", 0, accuracy=0.9, synthesis_seconds=10.0, **memory(600, 900)),
                run("quick", 1, accuracy=0.8, synthesis_seconds=8.0, **memory(700, 900)),
            ],
            "quicker": [run("quicker", s, accuracy=0.6, synthesis_seconds=4.0) for s in (0, 1)],
        },
        target_accuracy=0.85,
        title="Against <slow>",
    )


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons draw no pictures, which takes most of their time."""
    monkeypatch.setattr("fastdfkd.comparison.pictures.draw_all", lambda *_: None)
