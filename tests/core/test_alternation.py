"""With `bank.draws: in_order` the student trains on the images that each paper gives it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import DistillationSection

from . import parts


class Observed(SampleBuffer):
    """A buffer that keeps what was taken from it, and after how many insertions."""

    def __init__(self, rounds: int, section: Any):
        super().__init__(rounds * section.batch_size, parts.IMAGE_SHAPE)
        self.made: list[Tensor] = []
        self.taken: list[tuple[int, Tensor]] = []

    def extend(self, images: Tensor) -> None:
        super().extend(images)
        self.made.append(images.clone())

    def in_order(self, round: int, start: int, count: int) -> Tensor:
        images = super().in_order(round, start, count)
        self.taken.append((len(self.made), images.clone()))
        return images


def student_section(updates: int, batch: int) -> DistillationSection:
    return DistillationSection(
        updates_per_round=updates, batch_size=batch, crop_padding=0, flip=False
    )


def distiller(section: DistillationSection, warmup: int, **worker: int) -> StudentDistiller:
    where = {"warmup_rounds": warmup, "in_order": True, **worker}
    return StudentDistiller(section, parts.task(), total_updates=100, **where)


@pytest.mark.parametrize("method", parts.GENERATIVE)
@pytest.mark.parametrize("held", [1, 3])
def test_one_generator_step_then_n_updates_on_fresh_images(method: str, held: int) -> None:
    """Round after round: each update has the next two of its round's six images."""
    warmup = 1 if method in ("dafl", "dfq") else 0
    synthesis = parts.generative_section(method, warmup_rounds=warmup)
    bank = Observed(held, synthesis)
    section = student_section(updates=3, batch=2)
    synthesizer = build_synthesizer(synthesis, parts.task())
    reference_loop(synthesizer, bank, distiller(section, warmup), synthesis, section)
    assert len(bank.made) == 6
    expected = [(round + 1, update) for round in range(warmup, 6) for update in range(3)]
    assert len(bank.taken) == len(expected)
    for (after, images), (round_end, update) in zip(bank.taken, expected, strict=True):
        assert after == round_end
        assert torch.equal(images, bank.made[after - 1][2 * update : 2 * update + 2])


def test_ten_updates_may_share_one_batch() -> None:
    """ZSKT: the same images in each of the updates of a round."""
    synthesis = parts.generative_section("zskt", same_noise=True)
    bank, section = Observed(1, synthesis), student_section(updates=10, batch=6)
    synthesizer = build_synthesizer(synthesis, parts.task())
    reference_loop(synthesizer, bank, distiller(section, 0), synthesis, section)
    assert [after for after, _ in bank.taken] == [1 + n // 10 for n in range(60)]
    for after, images in bank.taken:
        assert torch.equal(images, bank.made[after - 1])


def test_workers_share_out_the_images_of_an_update() -> None:
    synthesis = parts.generative_section("dfad")
    bank, section = Observed(1, synthesis), student_section(updates=3, batch=4)
    bank.extend(torch.randint(256, (6, *parts.IMAGE_SHAPE), dtype=torch.uint8))
    pair = [distiller(section, 0, rank=rank, world_size=2) for rank in (0, 1)]
    for _ in range(3):
        for each in pair:
            each.update(bank)
    (images,) = bank.made
    positions = [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3], [4, 5]]
    for (_, taken), wanted in zip(bank.taken, positions, strict=True):
        assert torch.equal(taken, images[wanted])


def test_if_synthesis_is_ahead_every_round_still_has_its_updates() -> None:
    """As in async runs; a round that left the bank is replaced by the oldest one there."""
    synthesis = parts.generative_section("dfad")
    bank, section = Observed(3, synthesis), student_section(updates=2, batch=3)
    pupil = distiller(section, 1)
    for _ in range(4):
        bank.extend(torch.randint(256, (6, *parts.IMAGE_SHAPE), dtype=torch.uint8))
    for _ in range(4):
        pupil.update(bank)
    for n, (_, taken) in enumerate(bank.taken):
        start = 3 * (n % 2)
        assert torch.equal(taken, bank.made[1 + n // 2][start : start + 3])
    for _ in range(2):
        bank.extend(torch.randint(256, (6, *parts.IMAGE_SHAPE), dtype=torch.uint8))
    for n in range(3):
        pupil.updates = 4 + n  # round 3, still held
        pupil.update(bank)
    assert torch.equal(bank.taken[4][1], bank.made[3][:3])
    pupil.updates = 0  # round 1, removed: the oldest is round 3
    pupil.update(bank)
    assert torch.equal(bank.taken[-1][1], bank.made[3][:3])
