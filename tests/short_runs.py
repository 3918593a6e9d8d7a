"""Settings and surroundings of runs that take seconds, for tests of whole runs on digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

SHORT_RUN: dict[str, Any] = {
    "synthesis.steps": 1,
    "synthesis.rounds": 3,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 8,
    "synthesis.latent_dim": 8,
    "synthesis.generator_width": 4,
    "distillation.updates_per_round": 2,
    "distillation.batch_size": 8,
    "platform.evaluations": 2,
    "platform.precision": "float32",
    "platform.schedule": "lockstep",
    "student.model": "resnet8-half",
    "teacher.epochs": 1,
    "teacher.model": "resnet8-half",
    "teacher.precision": "float32",
}
"""Changes to `digits-fast5`."""


@contextmanager
def shared_places(tracking_uri: str, teacher_cache: Path) -> Iterator[None]:
    """Runs in the block are recorded in this store, and train a teacher only once. One thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        patch.setenv("FASTDFKD_HOME", str(teacher_cache))
        try:
            yield
        finally:
            torch.set_num_threads(threads)
