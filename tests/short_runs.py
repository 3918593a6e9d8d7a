"""Settings and surroundings of runs that take seconds, for tests of whole runs on digits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.recipe import load_recipe

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


def another_setting(run: Path, folder: Path, *, name: str, steps: int) -> None:
    """Copy a finished run as if it were one of another setting, with the same figures."""
    shutil.copytree(run, folder)
    recipe = load_recipe(run / "recipe.yaml", {"name": name, "synthesis.steps": steps})
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result |= {"recipe": name, "recipe_digest": recipe.digest()}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
