"""A recipe whose runs take a second or two, and spaces for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.metrics_file import RowFile
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.result import RunResult
from fastdfkd.tuning.comparison import Comparison
from fastdfkd.tuning.measured import Measured
from tests.tuning import browser as headless

SMALL = {
    "teacher.epochs": 2,
    "synthesis.steps": 2,
    "synthesis.rounds": 9,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 32,
    "synthesis.latent_dim": 32,
    "synthesis.generator_width": 8,
    "distillation.updates_per_round": 30,
    "distillation.batch_size": 32,
    "platform.evaluations": 4,
    "platform.precision": "float32",
}


QUICK = {
    **SMALL,
    "teacher.epochs": 1,
    "synthesis.rounds": 4,
    "synthesis.batch_size": 16,
    "distillation.updates_per_round": 4,
    "platform.evaluations": 1,
}


@pytest.fixture
def small() -> Recipe:
    """Its student learns: 25 % or more after a few seconds."""
    return load_recipe("digits-fast5", SMALL)


@pytest.fixture
def quick() -> Recipe:
    """Its student learns nothing to speak of; all its time is the start of processes."""
    return load_recipe("digits-fast5", QUICK)


@pytest.fixture
def space_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the part under `space:` to a file."""

    def write(text: str, name: str = "space.yaml") -> Path:
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        path = tmp_path / name
        path.write_text(f"space:\n{lines}\n")
        return path

    return write


@pytest.fixture
def options() -> Callable[..., Any]:
    """Makes a sweep's options; keywords replace them."""
    from fastdfkd.tuning.ledger import Options

    def make(**changes: Any) -> Options:
        values: dict[str, Any] = {
            "search": "grid",
            "scheduler": "fifo",
            "objective": "accuracy",
            "trials": 10,
            "seeds": 1,
        }
        return Options(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    from fastdfkd.platform.cluster import connect

    with connect(None):
        yield


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[headless.Browser]:
    program = headless.find()
    if program is None:
        pytest.skip("needs a browser on PATH: apt-get install chromium")
    with headless.Browser(program, tmp_path / "browser") as started:
        yield started


def memory(synthesizer: int, trainer: int) -> dict[str, int]:
    """Peaks in MiB."""
    return {
        "synthesizer_peak_memory_bytes": synthesizer * 2**20,
        "trainer_peak_memory_bytes": trainer * 2**20,
    }


@pytest.fixture
def comparison(tmp_path: Path, make_result: Callable[..., RunResult]) -> Comparison:
    """A slow reference on 32 images, and two settings on 100; two seeds each."""

    def run(label: str, seed: int, **figures: Any) -> Measured:
        folder = tmp_path / f"{label}-{seed}"
        folder.mkdir()
        last = figures["accuracy"]
        with RowFile(folder / "metrics.csv") as rows:
            rows.append({"updates": 25, "accuracy": last - 0.3, "end_to_end_seconds": 4.0})
            rows.append({"updates": 50, "synthesis_seconds": 1.0, "end_to_end_seconds": 6.0})
            rows.append({"updates": 50, "accuracy": last, "end_to_end_seconds": 8.0})
        result = make_result(recipe=label, seed=seed, **figures)
        return Measured(label=label, result=result, data="digits", folder=folder, reused=seed == 1)

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
        goal=0.85,
        title="Against <slow>",
    )
