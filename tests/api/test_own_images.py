"""Runs on images of the user's own: the teacher is trained on them, the student judged on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from PIL import Image

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.data import own_files, streaming
from fastdfkd.data.own_files import own_images
from fastdfkd.data.streaming import StreamedImages
from fastdfkd.recipe import DataSection
from tests.data.image_files import COLOURS, NAMES, content, spec_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]
TINY: dict[str, Any] = {
    "name": "own",
    "data": {"name": "folder", "root": "images"},
    "input": {"shape": [3, 16, 16], "normalisation": "half"},
    "teacher": {"model": "resnet8-half", "epochs": 3, "batch_size": 16, "lr": 0.05},
    "student": {"model": "resnet8-half"},
    "synthesis": {
        "steps": 1,
        "rounds": 2,
        "warmup_rounds": 1,
        "batch_size": 8,
        "latent_dim": 8,
        "generator_width": 4,
    },
    "distillation": {"updates_per_round": 2, "batch_size": 8},
    "platform": {"evaluations": 1, "schedule": "lockstep"},
}


def coloured(root: Path, each: int) -> Path:
    """Noisy images of three colours, 20 x 24."""
    rng = np.random.default_rng(each)
    for name in NAMES:
        (root / name).mkdir(parents=True)
        for number in range(each):
            noise = rng.integers(0, 120, (20, 24, 3))
            pixels = np.clip(noise + np.array(COLOURS[name]) * 0.5, 0, 255).astype(np.uint8)
            (root / name / f"{number}.jpg").write_bytes(content(Image.fromarray(pixels), "JPEG"))
    return root


@pytest.fixture
def images(workplace: Path) -> Path:
    coloured(workplace / "images" / "train", 24)
    coloured(workplace / "images" / "val", 10)
    (workplace / "images" / "val" / "red" / "1.jpg").write_bytes(b"no image")
    return workplace


def test_the_whole_program(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Streamed, with one unreadable image among thirty."""
    monkeypatch.setattr(own_files, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(streaming, "_workers", lambda chunks, pixels: min(chunks, 2))
    recipe = fastdfkd.load_recipe(fastdfkd.Recipe.model_validate(TINY), {"data.broken_share": 0.05})
    result = fastdfkd.distill(recipe, out=images / "run")
    assert result.teacher_accuracy is not None
    assert result.teacher_accuracy > 0.8
    assert result.accuracy is not None
    assert result.notes[0] == f"data ({images}/images/val): classes matched by name"
    assert "1 of 30 images cannot be read and are skipped: red/1.jpg" in result.notes[1]
    teacher = json.loads((images / "run" / "teacher.json").read_text())
    assert teacher["data"] == "folder"
    found = fastdfkd.evaluate(images / "run")
    assert found.images == 29
    assert found.accuracy == pytest.approx(result.accuracy)
    assert cli.run(["evaluate", str(images / "run")]) == 0
    assert "of 29 held-out real images" in capsys.readouterr().out


def test_images_are_decoded_by_workers_in_rays_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = DataSection(name="folder", root=str(coloured(tmp_path / "images", 8)))
    monkeypatch.setattr(own_files, "IN_MEMORY_BYTES", 0)
    streamed = own_images(section, "test", spec_of())
    assert isinstance(streamed, StreamedImages)

    @ray.remote
    class Reader:
        def read(self, images: StreamedImages) -> tuple[Any, int, int]:
            import psutil

            streaming._workers = lambda chunks, pixels: 2  # type: ignore[assignment]
            streaming._CHUNK_BYTES = 600
            batches = images.batches(5)
            first = next(batches)
            during = len(psutil.Process().children())
            rest = list(batches)
            labels = torch.cat([first[1], *(labels for _, labels in rest)])
            return labels.tolist(), during, len(psutil.Process().children())

    labels, during, after = ray.get(Reader.remote().read.remote(streamed))  # type: ignore[attr-defined]
    assert labels == [0] * 8 + [1] * 8 + [2] * 8
    assert (during >= 2, after) == (True, 0)
