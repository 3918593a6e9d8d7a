"""The cache of views and teacher logits, alone and in student updates."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.teacher_cache import BATCHES, TeacherCache
from fastdfkd.recipe import DistillationSection

from . import parts

BATCH, REUSE = 8, 4


def numbered(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Views and logits that encode their number."""
    number = torch.arange(first, first + count)
    views = number.remainder(256).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return views, number.float()[:, None].expand(-1, 3)


def filled(updates: int, batch: int = BATCH) -> TeacherCache:
    cache = TeacherCache(REUSE, batch)
    for _ in range(updates):
        cache.insert(*numbered(cache.inserted, cache.wanted))
    return cache


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_view_is_new_until_the_ring_is_full() -> None:
    cache = TeacherCache(REUSE, BATCH)
    for _ in range(BATCHES):
        assert cache.wanted == BATCH
        assert cache.draw(randomness()) == ([], [])
        cache.insert(*numbered(cache.inserted, BATCH))
    assert cache.wanted == BATCH // REUSE
    assert [len(part[0]) for part in cache.draw(randomness())] == [BATCH - BATCH // REUSE] * 2


def test_the_newest_views_are_held_and_drawn_with_their_logits() -> None:
    cache = filled(BATCHES + 5)
    held = set(range(cache.inserted - cache.capacity, cache.inserted))
    drawn: set[int] = set()
    for seed in range(400):
        (views,), (logits,) = cache.draw(randomness(seed))
        numbers = logits[:, 0].long()
        assert torch.equal(numbers.remainder(256).to(torch.uint8), views[:, 0, 0, 0])
        drawn |= set(numbers.tolist())
    assert drawn == held


def test_a_view_is_used_about_as_often_as_asked() -> None:
    """A view counts once when it is new, and once more for each draw of its number."""
    cache, uses = filled(BATCHES), torch.zeros(20_000)
    generator = randomness()
    while cache.inserted + BATCH < len(uses):
        _, said = cache.draw(generator)
        views, logits = numbered(cache.inserted, cache.wanted)
        for part in (logits, *said):
            uses += torch.bincount(part[:, 0].long(), minlength=len(uses))
        cache.insert(views, logits)
    settled = uses[2 * cache.capacity : -2 * cache.capacity]
    assert settled.mean().item() == pytest.approx(REUSE, rel=0.01)
    assert settled.min() >= 1


def test_a_ring_goes_on_from_its_state() -> None:
    first = filled(BATCHES + 3)
    second = TeacherCache(REUSE, BATCH)
    second.load_state_dict(copy.deepcopy(first.state_dict()), torch.device("cpu"))
    empty = TeacherCache(REUSE, BATCH)
    empty.load_state_dict(TeacherCache(REUSE, BATCH).state_dict(), torch.device("cpu"))
    assert empty.wanted == BATCH
    for cache in (first, second):
        cache.insert(*numbered(cache.inserted, cache.wanted))
    for ours, expected in zip(second.draw(randomness()), first.draw(randomness()), strict=True):
        assert torch.equal(ours[0], expected[0])


def test_a_ring_of_another_number_of_workers_is_begun_anew() -> None:
    """Written by two workers with 4 views each, read by one with 8."""
    left, ours = TeacherCache(2, 4), TeacherCache(2, 8)
    for cache in (left, ours):
        for _ in range(BATCHES + 1):
            cache.insert(*numbered(cache.inserted, cache.wanted))
    ours.load_state_dict(left.state_dict(), torch.device("cpu"))
    assert (ours.inserted, ours.wanted, ours.draw(randomness())) == (0, 8, ([], []))


def distiller(precision: Any = "float32", **changes: Any) -> StudentDistiller:
    values = {"updates_per_round": 5, "batch_size": 4, "lr": 0.02, "crop_padding": 1}
    return StudentDistiller(
        DistillationSection(**{**values, **changes}),
        parts.task(precision=precision),
        total_updates=40,
    )


def bank() -> SampleBuffer:
    shape = (20, *parts.IMAGE_SHAPE)
    held = SampleBuffer(20, parts.IMAGE_SHAPE)
    held.extend(torch.randint(0, 256, shape, dtype=torch.uint8, generator=randomness(4)))
    return held


def asked(pupil: StudentDistiller) -> list[int]:
    """Collects the number of images that the teacher is run on in each update."""
    counts: list[int] = []
    pupil.teacher.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    return counts


def test_the_teacher_is_asked_about_new_views_alone() -> None:
    pupil, images = distiller(teacher_cache=4), bank()
    counts = asked(pupil)
    for _ in range(BATCHES + 3):
        pupil.update(images)
    assert counts == [4] * BATCHES + [1] * 3


def test_updates_without_reuse_are_those_without_a_cache() -> None:
    """While all views are new the cache has no effect."""
    images, plain, cached = bank(), distiller(), distiller(teacher_cache=2)
    for _ in range(BATCHES):
        assert torch.equal(plain.update(images), cached.update(images))
    assert not torch.equal(plain.update(images), cached.update(images))


def test_cached_logits_are_the_teachers_for_that_view() -> None:
    pupil, images = distiller(teacher_cache=4), bank()
    for _ in range(BATCHES + 5):
        pupil.update(images)
    assert pupil.cache is not None
    assert pupil.cache.views is not None
    inputs = pupil.normalisation.from_uint8(pupil.cache.views)
    torch.testing.assert_close(parts.teacher().eval()(inputs), pupil.cache.logits)


@pytest.mark.parametrize("updates", [3, BATCHES + 2], ids=["filling", "full"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resuming_in_the_middle_changes_no_bit(precision: Any, updates: int) -> None:
    images = bank()
    straight = distiller(precision, teacher_cache=2)
    for _ in range(updates):
        straight.update(images)
    resumed = distiller(precision, teacher_cache=2)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for _ in range(BATCHES):
        assert torch.equal(straight.update(images), resumed.update(images))
    for name, value in straight.student_state().items():
        assert torch.equal(value, resumed.student_state()[name])
