from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.evaluation import Predictor
from fastdfkd.core.task_kind import Classification
from fastdfkd.export import compared_images as module
from fastdfkd.export.compared_images import (
    NOISE,
    ComparedImages,
    calibration_images,
    compared_images,
    resized,
)
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.result import RunResult
from tests.export.finished_runs import bank_images, write_run
from tests.models.builders import image_spec


def nobody() -> nn.Module | None:
    return None


def rows(images: Tensor) -> set[bytes]:
    """The images, for comparisons of sets."""
    return {each.numpy().tobytes() for each in images}


def test_calibration_takes_other_images_of_the_bank(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALIBRATION_IMAGES", 10)
    recipe = load_recipe(run / "recipe.yaml")
    found = compared_images(recipe, run, 14, teacher=nobody)
    (images, labels), *rest = found.batches
    calibration, what = calibration_images(recipe, run, teacher=nobody)
    assert (len(images), labels, rest, found.labelled) == (14, None, [], False)
    assert (len(calibration), what) == (10, "10 images of the bank")
    assert rows(images) | rows(calibration) == rows(bank_images(24, (3, 20, 20)))


def test_random_pixels_are_the_last_resort_and_calibrate_nothing(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    recipe = load_recipe(run / "recipe.yaml")
    found = compared_images(recipe, run, 1000, teacher=nobody)
    assert (len(found), found.what) == (NOISE, "images of random pixels")
    with pytest.raises(ValueError, match="keeps no images of its bank"):
        calibration_images(recipe, run, teacher=nobody)


def test_real_images_come_first_and_must_be_where_the_user_says(
    workplace: Path,
    tiny_recipe: Callable[..., Recipe],
    make_result: Callable[..., RunResult],
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = tiny_recipe()
    run = write_run(workplace / "run", recipe, make_result, bank=bank_images(5, (1, 16, 16)))
    found = compared_images(recipe, run, 30, teacher=nobody)
    assert (len(found), found.what, found.labelled) == (30, "held-out real images", True)
    data = {"name": "folder", "root": "absent.zip"}
    lost = Recipe.model_validate(
        {
            **recipe.model_dump(),
            "data": data,
            "input": {"shape": (1, 16, 16), "classes": 10, "normalisation": "half"},
        }
    )
    assert compared_images(lost, run, 30, teacher=nobody).what == "images of the bank"
    assert "real images cannot be read" in caplog.text
    with pytest.raises(ValueError, match=r"absent\.zip"):
        compared_images(lost, run, 30, teacher=nobody, root="absent.zip")


def test_images_are_resized_as_pillow_does() -> None:
    spec = image_spec(shape=(3, 16, 16))
    images = bank_images(2, (3, 24, 24))
    found = resized(images, spec)
    expected = nn.functional.interpolate(images.double(), (16, 16), mode="bilinear", antialias=True)
    assert found.dtype is torch.uint8
    assert (found.double() - expected).abs().max() <= 0.5 + 1e-4
    assert resized(found, spec) is found


def test_a_teacher_gives_labels() -> None:
    class ByBrightness(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            bright = images.mean((1, 2, 3))
            return torch.stack([bright, 1 - bright], 1)

    images = torch.tensor([10, 200], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
    teacher = Predictor(ByBrightness(), lambda unit: unit, "cpu")
    found = ComparedImages([(images, None)], "x").labelled_by(teacher, Classification(2))
    assert found.labelled
    labels = found.batches[0][1]
    assert labels is not None
    assert labels.tolist() == [1, 0]
