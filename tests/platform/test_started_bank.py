"""Runs whose bank starts full, on real Ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.started_images import StartedImages
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny
from tests.platform.students import check_same, reference_student

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster", "one_thread")]


def full(folder: Path, **changes: object) -> Recipe:
    """A lock-step run without warm-up whose bank starts with 37 images."""
    place = folder / "images"
    if not place.exists():
        place.mkdir()
        draws = np.random.default_rng(0)
        for number in range(37):
            pixels = draws.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number:02}.png")
    basic = {"platform__schedule": "lockstep", "synthesis__warmup_rounds": 0, "bank__capacity": 48}
    return tiny(**{**basic, "bank__start_from": str(place), **changes})


def test_lockstep_equals_the_reference_and_goes_on_from_a_checkpoint(
    teacher: Teacher, tmp_path: Path
) -> None:
    """The ring of 48 images wraps round; the 37 at the start stay."""
    recipe = full(tmp_path, platform__checkpoint_every=3)
    (tmp_path / "whole").mkdir()
    (tmp_path / "resumed").mkdir()
    recorder = Rows()
    result = pipeline.run(recipe, teacher, tmp_path / "whole", recorder)
    expected = reference_student(recipe, teacher)
    check_same(tmp_path / "whole", expected)
    assert (result.images, result.updates) == (7 * 16, 7 * 3)
    assert (result.started_images, result.started_synthesis_seconds) == (37, None)
    assert recorder.rows[-1]["bank_images"] == 37 + 48
    assert any("37 images" in note and "not known" in note for note in result.notes)
    checkpoint = CheckpointFolder(tmp_path / "whole").newest()
    assert checkpoint is not None
    pipeline.run(recipe, teacher, tmp_path / "resumed", Rows(), checkpoint=checkpoint)
    check_same(tmp_path / "resumed", expected)
    # A run can start from this one, whose own images have a known cost.
    second = full(tmp_path, bank__start_from=str(tmp_path / "whole"), synthesis__rounds=2)
    started = StartedImages.of(second, (1, 16, 16))
    assert started.images.shape == (48, 1, 16, 16)
    assert started.synthesis_seconds is None, "it had started from images of unknown cost"
    # Other images under the same name are refused on resuming.
    (tmp_path / "images" / "00.png").unlink()
    with pytest.raises(ValueError, match=r"began with 37 images.*now has 36"):
        pipeline.run(recipe, teacher, tmp_path / "resumed", Rows(), checkpoint=checkpoint)


@pytest.mark.slow
def test_two_workers_have_the_same_start(teacher: Teacher, tmp_path: Path) -> None:
    recipe = full(
        tmp_path, platform__workers=2, platform__cpus_per_worker=0.5, platform__schedule="async"
    )
    recorder = Rows()
    result = pipeline.run(recipe, teacher, tmp_path, recorder)
    assert (result.updates, result.started_images) == (7 * 3, 37)
    assert recorder.rows[-1]["bank_images"] == 37 + 48
