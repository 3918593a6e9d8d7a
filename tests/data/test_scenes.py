"""Rendered street scenes and their maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdfkd.core.task_kind import Segmentation
from fastdfkd.data import DATASETS
from fastdfkd.data.scene_drawing import CLASSES, SceneLook
from fastdfkd.data.scenes import SceneSettings, load_scenes

SMALL = SceneSettings(train=60, test=20)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path))
    return tmp_path


def test_shapes_types_and_classes() -> None:
    for split, count in (("train", 60), ("test", 20)):
        part = load_scenes(split, SMALL)
        assert part.images.shape == (count, 3, 32, 32)
        assert part.labels.shape == (count, 32, 32)
        assert part.images.dtype == part.labels.dtype == torch.uint8
        part.check_fits(DATASETS["scenes"][0])
    assert load_scenes("train", SMALL).labels.unique().tolist() == list(range(len(CLASSES)))


def test_the_description_is_that_of_the_images() -> None:
    spec = DATASETS["scenes"][0]
    pixels = load_scenes("train", SceneSettings(train=400, test=1)).images.double() / 255
    assert spec.kind == Segmentation(8)
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(spec.mean, abs=0.03)
    assert pixels.std((0, 2, 3)).tolist() == pytest.approx(spec.std, abs=0.03)


def test_the_second_reading_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_scenes("train", SMALL)

    def refuse(*_: object) -> None:
        raise AssertionError("drew again")

    monkeypatch.setattr("fastdfkd.data.scenes.draw_scene", refuse)
    assert load_scenes("train", SMALL).digest() == first.digest()


def test_scenes_follow_from_seed_and_look(home: Path) -> None:
    first = load_scenes("test", SMALL)
    (home / "data").joinpath(f"scenes-{SMALL.digest()[:16]}.npz").unlink()
    assert load_scenes("test", SMALL).digest() == first.digest()
    others = (
        SceneSettings(train=60, test=20, seed=1),
        SceneSettings(train=60, test=20, look=SceneLook(noise=6.0)),
    )
    assert len({first.digest(), *(load_scenes("test", each).digest() for each in others)}) == 3


def test_training_and_test_scenes_differ() -> None:
    train, test = load_scenes("train", SMALL), load_scenes("test", SMALL)
    assert not any((train.images == image).all((1, 2, 3)).any() for image in test.images)


def test_colour_alone_does_not_tell_the_class() -> None:
    """The best class for each of 512 colours, counted on training scenes, is often wrong."""
    parts = [load_scenes(split, SceneSettings(train=400, test=100)) for split in ("train", "test")]
    (colours, classes), (test_colours, test_classes) = [
        ((part.images.long() // 32 * torch.tensor([64, 8, 1]).reshape(3, 1, 1)).sum(1), part.labels)
        for part in parts
    ]
    counts = torch.zeros(512, 8).index_put_(
        (colours.flatten(), classes.flatten().long()), torch.ones(1), accumulate=True
    )
    kind = Segmentation(8)
    logits = counts[test_colours].movedim(-1, 1)
    found = kind.figures_of(kind.counts(logits, test_classes))
    assert found["mean_iou"] < 0.3
