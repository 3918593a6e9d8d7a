"""Views of the student's updates: resized parts of the images instead of shifted ones."""

from __future__ import annotations

import pytest
import torch

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.resized_crop import ResizedCrop
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.views import ResizedViews, views_of
from fastdfkd.recipe import DistillationSection

from . import parts


def images(count: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, *parts.IMAGE_SHAPE), dtype=torch.uint8, generator=draws)


def section(**changes: object) -> DistillationSection:
    values = {"crop_padding": 0, "crop_area": 0.3, "batch_size": 8, "updates_per_round": 2}
    return DistillationSection(**{**values, **changes})  # type: ignore[arg-type]


def test_views_are_rounded_parts_of_the_images() -> None:
    views = views_of(section())
    assert isinstance(views, ResizedViews)
    drawn = views.draw(8, torch.Generator().manual_seed(3))
    (theta,) = ResizedCrop.draw(8, 0.3, True, torch.Generator().manual_seed(3))
    found = views.of(images(8), *drawn)
    assert found.dtype is torch.uint8
    torch.testing.assert_close(found.float(), ResizedCrop(theta)(images(8).float()).round())


def test_inversion_comes_last() -> None:
    views, plain = views_of(section(invert=True)), views_of(section())
    theta, inverted = views.draw(8, torch.Generator().manual_seed(3))
    assert inverted is not None
    assert 0 < inverted.sum() < 8
    of, without = views.of(images(8), theta, inverted), plain.of(images(8), theta, None)
    assert torch.equal(of[inverted], 255 - without[inverted])
    assert torch.equal(of[~inverted], without[~inverted])


@pytest.mark.parametrize("cache", [None, 4])
def test_a_student_learns_on_resized_parts_and_repeats(cache: int | None) -> None:
    def state(**changes: object) -> dict[str, torch.Tensor]:
        sections = section(teacher_cache=cache, **changes)
        distiller = StudentDistiller(sections, parts.task(), total_updates=12)
        bank = SampleBuffer(20, parts.IMAGE_SHAPE)
        bank.extend(images(20))
        for _ in range(12):
            distiller.update(bank)
        return {name: tensor.clone() for name, tensor in distiller.student_state().items()}

    first, again, other = state(), state(), state(crop_area=None)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_two_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="set crop_padding to 0"):
        DistillationSection(crop_area=0.5)
