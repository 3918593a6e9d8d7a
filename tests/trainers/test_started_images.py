"""What a bank starts with: images of runs and of folders, their cost, and the digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.started_images import StartedImages

SHAPE = (1, 16, 16)


def recipe(path: Path | None) -> Recipe:
    changes = {} if path is None else {"bank.start_from": str(path)}
    return load_recipe("digits-fast5", changes)


def a_run(place: Path, started: dict[str, Any] | None = None) -> Path:
    """A folder with a checkpoint of rounds 0 and 1, inserted the other way round."""
    records = [{"synthesis_seconds": 1.5}, {"synthesis_seconds": 2.0}]
    state: dict[str, Any] = {"totals": {"records": records}}
    if started is not None:
        state["started"] = started
    images = {n: torch.full((4, *SHAPE), n, dtype=torch.uint8) for n in (1, 0)}
    CheckpointFolder(place).save(20, state, images, [0, 1])
    return place


def test_none_by_default() -> None:
    started = StartedImages.of(recipe(None), SHAPE)
    assert len(started) == 0
    assert started.parts == ()
    assert started.notes == []


def test_a_runs_images_in_the_order_of_its_rounds_and_their_cost(tmp_path: Path) -> None:
    started = StartedImages.of(recipe(a_run(tmp_path)), SHAPE)
    assert started.images[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert started.synthesis_seconds == 3.5
    (note,) = started.notes
    assert "8 images" in note
    assert "took 3.5 s" in note


@pytest.mark.parametrize(("before", "cost"), [(4.0, 7.5), (None, None)])
def test_the_cost_of_a_run_that_started_from_another(
    before: float | None, cost: float | None, tmp_path: Path
) -> None:
    facts = {"images": 3, "synthesis_seconds": before}
    started = StartedImages.of(recipe(a_run(tmp_path, facts)), SHAPE)
    assert started.synthesis_seconds == cost


def test_image_files_have_an_unknown_cost(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.png")
    started = StartedImages.of(recipe(tmp_path), SHAPE)
    assert started.images.shape == (1, *SHAPE)
    assert started.synthesis_seconds is None
    assert "not known" in started.notes[0]


def test_other_shapes_are_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(1, 16, 16\).*\(3, 32, 32\)"):
        StartedImages.of(recipe(a_run(tmp_path)), (3, 32, 32))


def test_a_run_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match=r"bank.start_from.*no valid checkpoint"):
        StartedImages.of(recipe(tmp_path), SHAPE)


def test_the_samples_of_a_run_without_checkpoints_are_no_bank(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "samples.png")
    with pytest.raises(ValueError, match=r"bank.start_from: the run in .* has no checkpoint: it"):
        StartedImages.of(recipe(tmp_path), SHAPE)


def test_a_resumed_run_needs_the_same_images(tmp_path: Path) -> None:
    started = StartedImages.of(recipe(a_run(tmp_path)), SHAPE)
    started.check_same(started.facts())
    started.check_same(None)
    # A checkpoint of an earlier release has the digest of the pixels.
    pixels = StartedImages(started.parts).facts()
    started.check_same(pixels)
    others = StartedImages((started.images + 1,), "there")
    with pytest.raises(ValueError, match=r"began with 8 images, and there now has 8"):
        others.check_same(pixels)
    with pytest.raises(ValueError, match=r"began with 8 images, and there now has 8"):
        others.check_same(started.facts())
