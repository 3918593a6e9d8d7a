"""Five rounds of the whole method, and the student's update, against independent formulations."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.random_streams import stream
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import DistillationSection

from . import naive, parts

TRACE = Path(__file__).parents[1] / "golden" / "trace.json"


def distillation(**changes: Any) -> DistillationSection:
    values = {
        "updates_per_round": 3,
        "batch_size": 6,
        "lr": 0.02,
        "min_lr": 1e-3,
        "weight_decay": 1e-2,
        "temperature": 2.0,
        "crop_padding": 2,
    }
    return DistillationSection(**{**values, **changes})


def distiller(
    section: DistillationSection,
    total_updates: int = 12,
    rank: int = 0,
    world_size: int = 1,
    **more: Any,
) -> StudentDistiller:
    where = {"rank": rank, "world_size": world_size}
    return StudentDistiller(section, parts.task(**more), total_updates=total_updates, **where)


def naive_distiller(section: DistillationSection, rounds: int) -> naive.Distiller:
    return naive.Distiller(
        parts.teacher(),
        parts.student(),
        lr=section.lr,
        min_lr=section.min_lr,
        momentum=section.momentum,
        weight_decay=section.weight_decay,
        temperature=section.temperature,
        padding=section.crop_padding,
        rounds=rounds,
        mean=parts.column(parts.MEAN),
        std=parts.column(parts.STD),
    )


def drawn(
    section: DistillationSection, held: Tensor, update: int, rank: int = 0, share: int | None = None
) -> tuple[Tensor, Augmentation]:
    """Images and moves of an update: the bank draws first, then the augmentation."""
    randomness = stream(parts.SEED, "distillation", update, rank)
    count = share or section.batch_size
    index = torch.randint(len(held), (count,), generator=randomness)
    move = Augmentation.draw(count, section.crop_padding, section.flip, section.invert, randomness)
    return held[index], move


class Recorded:
    """A distiller that records the loss and learning rate of each update."""

    def __init__(self, inner: StudentDistiller):
        self.inner, self.losses, self.rates = inner, list[float](), list[float]()

    def update(self, bank: SampleBank) -> Tensor:
        self.rates.append(self.inner.lr)
        loss = self.inner.update(bank)
        self.losses.append(loss.item())
        return loss

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def checksum(tensors: Any) -> float:
    """A sum with signs and sizes that differ from element to element."""
    flat = torch.cat([t.detach().double().reshape(-1) for t in tensors])
    return float((flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum())


def naive_trace() -> dict[str, list[float]]:
    """Five rounds, the first of them warm-up, three student updates a round."""
    synthesis, section = parts.fast_section(rounds=5), distillation()
    pupil = naive_distiller(section, rounds=4)
    maker = parts.naive_fast(parts.fast(synthesis), synthesis)
    trace: dict[str, list[float]] = {"losses": [], "rates": [], "student": [], "theta": []}
    held = torch.zeros(0, *parts.IMAGE_SHAPE, dtype=torch.uint8)
    for round in range(5):
        maker.objective.student = copy.deepcopy(pupil.student).eval()
        randomness = stream(parts.SEED, "synthesis", round)
        count = synthesis.batch_size
        z = torch.randn(count, synthesis.latent_dim, generator=randomness)
        labels = torch.randint(parts.CLASSES, (count,), generator=randomness)
        moves = [
            Augmentation.draw(
                count, synthesis.crop_padding, synthesis.flip, synthesis.invert, randomness
            )
            for _ in range(synthesis.steps)
        ]
        inner = maker.inner_loop(z, labels, moves, round >= 1)
        maker.learn(inner)
        held = torch.cat([held, naive.to_uint8(inner.images[inner.best])])
        if round >= 1:
            for _ in range(3):
                trace["rates"].append(pupil.holder.param_groups[0]["lr"])
                batch = drawn(section, held, len(trace["losses"]))
                trace["losses"].append(pupil.update(*batch))
            pupil.end_round()
        trace["student"].append(checksum(pupil.student.state_dict().values()))
        trace["theta"].append(checksum(maker.theta.parameters()))
    return trace


def our_trace() -> dict[str, list[float]]:
    synthesis, section = parts.fast_section(rounds=5), distillation()
    synthesizer, pupil = parts.fast(synthesis), Recorded(distiller(section))
    bank = SampleBuffer(5 * synthesis.batch_size, parts.IMAGE_SHAPE)
    checks: dict[str, list[float]] = {"student": [], "theta": []}

    def on_round(_round: int, _clock: Clock) -> None:
        checks["student"].append(checksum(pupil.student_state().values()))
        checks["theta"].append(checksum(synthesizer.meta.generator.parameters()))

    reference_loop(synthesizer, bank, pupil, synthesis, section, on_round=on_round)
    return {"losses": pupil.losses, "rates": pupil.rates, **checks}


def assert_traces_close(ours: Any, expected: Any, rel: float) -> None:
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        assert ours[name] == pytest.approx(values, rel=rel, abs=rel), name


@pytest.mark.usefixtures("float64")
def test_five_rounds_equal_the_formulation() -> None:
    """Losses are float32 in the distiller; everything else is float64 on both sides."""
    expected = naive_trace()
    assert len(expected["losses"]) == 12
    assert_traces_close(our_trace(), expected, 2e-5)


@pytest.mark.usefixtures("float64")
def test_the_formulation_is_the_one_on_file() -> None:
    """Pins the naive loop itself: a change of both sides at once would show here.

    `golden/trace.json` was written by `naive_trace`, never by the code under test.
    """
    expected = json.loads(TRACE.read_text(encoding="utf-8"))
    assert_traces_close(naive_trace(), expected["trace"], 1e-6)


def test_five_rounds_in_float32_learn_alike_twice() -> None:
    assert our_trace() == our_trace()


def test_calls_come_in_the_papers_order() -> None:
    """Warm-up rounds only fill the bank; each round begins with the student's weights."""
    calls: list[Any] = []

    class Pupil:
        updates = 0

        def update(self, bank: SampleBank) -> Tensor:
            calls.append(("update", len(bank)))
            return torch.zeros(())

        def student_state(self) -> dict[str, Tensor]:
            return {}

    class Maker:
        def load_student(self, state: dict[str, Tensor], version: int) -> None:
            calls.append(("student", version))

        def synthesize(self, round: int) -> int:
            calls.append(("synthesize", round))
            return round

    class Bank:
        held = 0

        def insert(self, batch: int) -> None:
            calls.append(("insert", batch))
            self.held += 1

        def __len__(self) -> int:
            return self.held

    synthesis = parts.fast_section(rounds=4, warmup_rounds=2)
    pieces: tuple[Any, Any, Any] = (Maker(), Bank(), Pupil())
    clock = reference_loop(*pieces, synthesis, distillation(updates_per_round=2))
    expected = []
    for round, version in enumerate((0, 0, 0, 1)):
        expected += [("student", version), ("synthesize", round), ("insert", round)]
        expected += [("update", round + 1)] * (2 if round >= 2 else 0)
    assert calls == expected
    assert set(clock.seconds) == {"synthesis", "storage", "distillation"}


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


def filled_bank(count: int = 20) -> tuple[SampleBuffer, Tensor]:
    randomness = torch.Generator().manual_seed(4)
    shape = (count, *parts.IMAGE_SHAPE)
    held = torch.randint(0, 256, shape, dtype=torch.uint8, generator=randomness)
    bank = SampleBuffer(count, parts.IMAGE_SHAPE)
    bank.extend(held)
    return bank, held


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
            assert pupil.lr == pytest.approx(naive.cosine(0.2, 2e-4, round, rounds), rel=1e-12)
        holder.step()
        schedule.step()
    assert pupil.lr == pytest.approx(2e-4)


def test_the_learning_rate_is_warmed_up() -> None:
    section = DistillationSection(updates_per_round=5, warmup_updates=7, lr=0.2, min_lr=0.0)
    pupil = distiller(section, total_updates=20)
    rates = []
    for pupil.updates in range(20):
        rates.append(pupil.lr / naive.cosine(0.2, 0.0, pupil.updates // 5, 4))
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
