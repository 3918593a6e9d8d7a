"""Held-out synthetic images, their views, and the figures of a student on them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fastdfkd.core.held_out import (
    AUGMENTED,
    MIXED,
    PLAIN,
    agreement_figures,
    held_out_images,
    views_of,
)
from fastdfkd.core.task import Task
from fastdfkd.recipe.methods.held_out import HeldOutSynthesis
from fastdfkd.recipe.methods.teacher_traits import TeacherTraits

from . import parts

TRAITS = TeacherTraits(statistics=2, features=True, patch=None)


def task(**changes: Any) -> Task:
    return parts.task(**changes)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return held_out_images(HeldOutSynthesis(24, parts.IMAGE_SHAPE, TRAITS), task())


def test_they_are_a_function_of_the_teacher_alone(images: torch.Tensor) -> None:
    assert images.shape == (24, *parts.IMAGE_SHAPE)
    assert images.dtype is torch.uint8
    again = held_out_images(HeldOutSynthesis(24, parts.IMAGE_SHAPE, TRAITS), task(seed=99))
    assert torch.equal(images, again)
    assert len({image.numpy().tobytes() for image in images}) == 24


def test_several_generators_share_them() -> None:
    assert HeldOutSynthesis(2000, (3, 8, 8), TRAITS).generators == 4
    assert HeldOutSynthesis(24, (3, 8, 8), TRAITS).generators == 1
    assert HeldOutSynthesis(24, (3, 8, 8), TRAITS).section.labels == "drawn"
    assert HeldOutSynthesis(24, (3, 8, 8), TRAITS, "segmentation").section.labels == "teacher"
    settings = HeldOutSynthesis(500, (3, 8, 8), TRAITS)
    section = settings.section
    kept = (section.rounds - section.warmup_rounds) * section.batch_size * settings.generators
    assert settings.generators == 2
    assert 500 <= kept < 500 + 2 * section.batch_size
    assert section.adv == 0


def test_views_are_of_the_same_images_and_the_same_each_time(images: torch.Tensor) -> None:
    views, again = views_of(images), views_of(images)
    assert list(views) == [PLAIN, MIXED, AUGMENTED]
    assert torch.equal(views[PLAIN], images)
    for name, view in views.items():
        assert torch.equal(view, again[name])
        assert (view.shape, view.dtype) == (images.shape, torch.uint8)
    low, high = images.amin(0), images.amax(0)
    assert ((views[MIXED] >= low) & (views[MIXED] <= high)).all()
    assert not torch.equal(views[MIXED], images)
    assert not torch.equal(views[AUGMENTED], images)


def test_figures_against_a_plain_count() -> None:
    """Four images of three classes: the student is right for two, and never says class 2."""
    teacher = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5], [5, 0, 0]])
    student = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 3, 0], [0, 3, 0]])
    found = agreement_figures(
        {PLAIN: student, MIXED: teacher, AUGMENTED: -teacher},
        {PLAIN: teacher, MIXED: teacher, AUGMENTED: teacher},
    )
    soft = [[math.exp(v) / sum(map(math.exp, row)) for v in row] for row in teacher.tolist()]
    mine = [[math.exp(v) / sum(map(math.exp, row)) for v in row] for row in student.tolist()]
    kl = sum(
        p * math.log(p / q)
        for ps, qs in zip(soft, mine, strict=True)
        for p, q in zip(ps, qs, strict=True)
    )
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert found == pytest.approx(
        {
            "agreement": 0.5,
            "agreement_mixed": 1.0,
            "agreement_augmented": 0.0,
            "kl": kl / 4,
            "teacher_confidence": math.exp(5) / (math.exp(5) + 2),
            "coverage": entropy / math.log(3),
            "unseen_classes": 1.0,
        }
    )
