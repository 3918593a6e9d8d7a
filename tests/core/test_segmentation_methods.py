"""Every method makes images for a teacher of maps, or its section says that it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastdfkd.core import losses
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.dfad import DFAD
from fastdfkd.core.task_kind import Segmentation
from fastdfkd.recipe import METHODS
from fastdfkd.recipe.methods import ShapesSynthesis

from . import parts
from .test_task_kind import segmentation_task

CHANGES: dict[str, Any] = {"rounds": 6, "warmup_rounds": 1}
SECTIONS = {
    "fast": parts.fast_section(),
    "deep_inversion": parts.deep_section(),
    "cmi": parts.cmi_section(),
    "shapes": ShapesSynthesis(method="shapes", batch_size=8, shapes=3, candidates=2, **CHANGES),
    **{name: parts.generative_section(name) for name in parts.GENERATIVE},
}
DRAWN = ("fast", "deep_inversion", "cmi")
"""Methods whose labels are drawn unless the recipe says otherwise."""


def test_only_class_vectors_do_not_fit_maps() -> None:
    assert {*SECTIONS, "nayer", "auto"} == set(METHODS)
    assert "needs one class for each image" in parts.nayer_section().misfit("segmentation")
    assert parts.nayer_section(codes="noise").misfit("segmentation") == ""
    assert parts.nayer_section().misfit("classification") == ""
    assert all(section.misfit("segmentation") == "" for section in SECTIONS.values())


@pytest.mark.parametrize("name", SECTIONS)
def test_a_batch_for_a_teacher_of_maps(name: str) -> None:
    section = SECTIONS[name]
    batch = build_synthesizer(section, segmentation_task()).synthesize(2)
    assert batch.images.shape == (section.batch_size, *parts.IMAGE_SHAPE)
    if name in DRAWN:
        assert batch.labels is not None
        assert batch.labels.shape == (section.batch_size, *parts.IMAGE_SHAPE[1:])
    else:
        assert batch.labels is None
    figures = batch.provenance.figures
    assert figures is not None
    pixels = sum(figures.classes.values())
    assert pixels % (parts.IMAGE_SHAPE[1] * parts.IMAGE_SHAPE[2]) == 0, "counted by pixels"


@pytest.mark.parametrize("name", DRAWN)
def test_the_teachers_own_labels(name: str) -> None:
    """The one-hot term is then the mean surprise at its own classes; drawn labels cost far more."""
    own = SECTIONS[name].model_copy(update={"labels": "teacher"})
    mine = build_synthesizer(own, segmentation_task()).synthesize(1)
    drawn = build_synthesizer(SECTIONS[name], segmentation_task()).synthesize(1)
    assert mine.labels is None
    assert mine.provenance.losses["oh"] < 0.7 * drawn.provenance.losses["oh"]


def test_drawn_maps_of_squares() -> None:
    randomness = torch.Generator().manual_seed(0)
    maps = Segmentation(5).draw_labels(3, (3, 8, 10), True, randomness, block=4)
    assert maps.shape == (3, 8, 10)
    squares = maps[:, ::4, ::4]
    assert squares.shape == (3, 2, 3)
    whole = squares.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :, :10]
    assert torch.equal(maps, whole)
    counts = squares.flatten().bincount(minlength=5)
    assert counts.max() - counts.min() <= 1, "balanced over the squares"


@pytest.mark.parametrize("distance", ["l1", "log_l1"])
def test_dfads_distance_of_maps(distance: str) -> None:
    section = parts.generative_section("dfad").model_copy(update={"distance": distance})
    method = build_synthesizer(section, segmentation_task())
    assert isinstance(method, DFAD)
    randomness = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 2, 3, 4, 4, generator=randomness).unbind(0)
    mean = losses.logit_distance(first, second)
    expected = -(mean if distance == "l1" else (1 + mean).log())
    torch.testing.assert_close(method.objective.adversarial_loss(first, second), expected)
