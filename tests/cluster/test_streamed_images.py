"""Image files that do not fit into memory, evaluated by a worker of Ray Train.

The worker decodes them in processes of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fastdfkd
from fastdfkd.data import data_source
from fastdfkd.data.streaming import StreamedImages, _workers
from fastdfkd.experiment import image_spec
from fastdfkd.models import save_weights
from fastdfkd.recipe import load_recipe
from fastdfkd.runs.metrics import is_evaluation, read_rows
from tests.data.image_files import content
from tests.models.builders import open_model, write_network

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1500)]
IMAGES, SIDE = 900, 224
SETTINGS: dict[str, Any] = {
    "name": "streamed",
    "input.shape": [3, SIDE, SIDE],
    "input.classes": ["bright", "dark"],
    "input.normalisation": "half",
    "teacher.model": "nets/small.py:build",
    "teacher.weights": "teacher.safetensors",
    "student.model": "nets/small.py:build",
    "synthesis.steps": 1,
    "synthesis.rounds": 3,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 4,
    "synthesis.latent_dim": 8,
    "synthesis.generator_width": 4,
    "distillation.updates_per_round": 1,
    "distillation.batch_size": 4,
    "platform.evaluations": 2,
    "platform.workers": 1,
    "platform.start_timeout_s": 120,
}


def jpegs() -> list[tuple[int, bytes]]:
    """Labels and JPEG files."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(IMAGES):
        label = number % 2
        pixels = rng.integers(0, 128, (56, 56, 3), dtype=np.uint8) + np.uint8(127 * (1 - label))
        pictures.append((label, content(Image.fromarray(pixels), "JPEG")))
    return pictures


def folder(root: Path) -> str:
    for name in ("bright", "dark"):
        (root / "data" / name).mkdir(parents=True)
    for number, (label, data) in enumerate(jpegs()):
        (root / "data" / ("bright", "dark")[label] / f"{number}.jpg").write_bytes(data)
    return "data"


def parquet(root: Path) -> str:
    labels, files = zip(*jpegs(), strict=True)
    columns = {"image": [{"bytes": data, "path": None} for data in files], "label": labels}
    pq.write_table(pa.table(columns), root / "data.parquet", row_group_size=100)
    return "data.parquet"


@pytest.mark.parametrize("write", [folder, parquet], ids=["folder", "parquet"])
def test_a_worker_streams_the_held_out_images(
    workplace: Path, ray_cluster: None, write: Callable[[Path], str]
) -> None:
    write_network(workplace)
    network = open_model("nets/small.py:build", 2, (3, SIDE, SIDE)).network
    save_weights(workplace / "teacher.safetensors", network)
    data = {"data.name": write.__name__, "data.root": write(workplace)}
    recipe = load_recipe("digits-fast5", {**SETTINGS, **data})
    held_out = data_source(recipe.data).load("test", image_spec(recipe))
    assert isinstance(held_out, StreamedImages)
    assert len(held_out) == IMAGES
    assert _workers(9, IMAGES * SIDE * SIDE) >= 1, "images are decoded by other processes"
    result = fastdfkd.distill(recipe, out="run")
    assert result.accuracy is not None
    assert result.teacher_accuracy is not None
    rows = list(filter(is_evaluation, read_rows(workplace / "run/metrics.csv")))
    assert len(rows) == 2
    assert fastdfkd.evaluate("run").accuracy == pytest.approx(result.accuracy, abs=2 / IMAGES)
