"""The student's updates against an independent formulation; workers, resuming, precision."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import DistillationSection

from . import naive, naive_student, parts
from .student_parts import distillation, distiller, drawn, filled_bank, naive_distiller


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"momentum": 0.0},
        {"weight_decay": 0.0},
        {"temperature": 20.0, "flip": False, "invert": True},
    ],
    ids=str,
)
def test_student_updates_equal_the_formulation(changes: dict[str, Any]) -> None:
    section = distillation(**changes)
    bank, held = filled_bank()
    ours, expected = distiller(section), naive_distiller(section, rounds=4)
    for update in range(7):
        loss = ours.update(bank).item()
        assert loss == pytest.approx(expected.update(*drawn(section, held, update)), rel=5e-5)
        if update % 3 == 2:
            expected.end_round()
    for name, value in expected.student.state_dict().items():
        torch.testing.assert_close(ours.student_state()[name], value, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("updates_per_round", "rounds"), [(3, 5), (1, 4), (400, 200)])
def test_the_learning_rate_is_the_schedulers(updates_per_round: int, rounds: int) -> None:
    section = DistillationSection(updates_per_round=updates_per_round)
    pupil = distiller(section, total_updates=updates_per_round * rounds)
    holder = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(holder, rounds, 2e-4)
    for round in range(rounds + 1):
        for update in {0, updates_per_round - 1}:
            pupil.updates = round * updates_per_round + update
            assert pupil.lr == pytest.approx(holder.param_groups[0]["lr"], rel=1e-9)
            assert pupil.lr == pytest.approx(
                naive_student.cosine(0.2, 2e-4, round, rounds), rel=1e-12
            )
        holder.step()
        schedule.step()
    assert pupil.lr == pytest.approx(2e-4)


def test_the_learning_rate_is_warmed_up() -> None:
    section = DistillationSection(updates_per_round=5, warmup_updates=7, lr=0.2, min_lr=0.0)
    pupil = distiller(section, total_updates=20)
    rates = []
    for pupil.updates in range(20):
        rates.append(pupil.lr / naive_student.cosine(0.2, 0.0, pupil.updates // 5, 4))
    assert rates == pytest.approx([*(step / 8 for step in range(1, 8)), *[1.0] * 13])


def test_workers_draw_shares_of_their_own() -> None:
    bank, held = filled_bank()
    section = distillation()
    for rank in (0, 1):
        pupil = distiller(section, rank=rank, world_size=2)
        inputs = []
        pupil.teacher.register_forward_pre_hook(lambda _, x, seen=inputs: seen.append(x[0]))
        pupil.update(bank)
        images, move = drawn(section, held, 0, rank, share=3)
        cropped = naive.augment(images, move, 2).double() / 255
        expected = (cropped - parts.column(parts.MEAN)) / parts.column(parts.STD)
        torch.testing.assert_close(inputs[0].double(), expected, rtol=1e-5, atol=1e-5)


def test_the_student_trains_and_the_teacher_does_not() -> None:
    pupil = distiller(distillation())
    teacher = copy.deepcopy(pupil.teacher.state_dict())
    student = copy.deepcopy(pupil.student_state())
    pupil.update(filled_bank()[0])
    assert all(torch.equal(teacher[k], v) for k, v in pupil.teacher.state_dict().items())
    assert all(not torch.equal(student[k], v) for k, v in pupil.student_state().items())
    assert not any(p.requires_grad for p in pupil.teacher.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resuming_in_the_middle_changes_no_bit(precision: Any) -> None:
    bank, _ = filled_bank()
    straight, first = (distiller(distillation(), precision=precision) for _ in range(2))
    for _ in range(4):
        straight.update(bank)
        first.update(bank)
    resumed = distiller(distillation(), precision=precision)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    assert resumed.updates == 4
    for _ in range(5):
        assert torch.equal(straight.update(bank), resumed.update(bank))
    for name, value in straight.student_state().items():
        assert torch.equal(value, resumed.student_state()[name])


def test_a_states_memory_layout_does_not_matter() -> None:
    """A store may return row-major tensors; the weights here are channels_last."""
    bank, _ = filled_bank()
    straight, resumed = distiller(distillation()), distiller(distillation())
    for _ in range(2):
        straight.update(bank)
    resumed.load_state_dict(parts.contiguous(straight.state_dict()))
    for _ in range(2):
        assert torch.equal(straight.update(bank), resumed.update(bank))
    for name, value in straight.student_state().items():
        assert torch.equal(value, resumed.student_state()[name])


def test_bfloat16_loss_is_near() -> None:
    bank, _ = filled_bank()
    exact, half = (distiller(distillation(), precision=p) for p in ("float32", "bfloat16"))
    losses = exact.update(bank).item(), half.update(bank).item()
    assert losses[1] == pytest.approx(losses[0], rel=5e-2)
    assert losses[0] != losses[1]
    assert {p.dtype for p in half.module.parameters()} == {torch.float32}


@pytest.mark.gpu
def test_updates_on_cuda_equal_the_cpus() -> None:
    """Without crop or flip, and with a bank of one image, the random streams do not matter."""
    section = distillation(crop_padding=0, flip=False)
    image = filled_bank(1)[1]
    losses = []
    for device in ("cpu", "cuda"):
        bank = SampleBuffer(1, parts.IMAGE_SHAPE, device)
        bank.extend(image)
        pupil = distiller(section, device=device)
        losses.append([pupil.update(bank).item() for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
