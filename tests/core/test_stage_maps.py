"""The distance of the maps of stages: by channels, and by a regressor that is trained beside."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.even_spacing import evenly_spaced
from fastdfkd.core.losses import distillation_loss
from fastdfkd.core.random_streams import stream
from fastdfkd.core.stage_maps import StageMaps
from fastdfkd.core.views import views_of

from . import parts
from .student_parts import distillation, distiller, filled_bank

GOLDEN = 3.562546067848083
"""Of `test_the_loss_on_file`, by plain arithmetic in Python."""
WEIGHT = 0.7
WIDTHS = {"8x8": (3, 5), "4x4": (4, 6)}
"""Channels of student and teacher, by stage."""


def plain_distance(taught: Tensor, followed: Tensor) -> float:
    """By the definition, number by number."""
    pairs = list(zip(taught.flatten().tolist(), followed.flatten().tolist(), strict=True))
    return sum((t - s) ** 2 for t, s in pairs) / sum(t**2 for t, _ in pairs)


@pytest.mark.usefixtures("float64")
def test_channels_are_compared_by_the_definition() -> None:
    term = StageMaps(parts.task(student_origins=parts.SAME_MODULES))
    assert not term.learned
    taught = [torch.randn(2, 5, 8, 8), 3 * torch.randn(2, 6, 4, 4)]
    followed = [torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)]
    chosen = [taught[0][:, [0, 2, 4]], taught[1][:, [0, 2, 3, 5]]]
    expected = sum(map(plain_distance, chosen, followed))
    teacher = list(map(term.of_teacher, term.stages, taught))
    student = list(map(term.of_student, term.stages, followed))
    assert term.loss(teacher, student).item() == pytest.approx(expected, rel=1e-10)
    assert term.loss(teacher, chosen).item() == 0


@pytest.mark.usefixtures("float64")
def test_the_loss_on_file() -> None:
    """Pins the definition: 8x8 with channels 0, 2, 4 and 4x4 with channels 0, 2, 3, 5."""
    term = StageMaps(parts.task(student_origins=parts.SAME_MODULES))
    shapes = ((1, 5, 8, 8), (1, 6, 4, 4), (1, 3, 8, 8), (1, 4, 4, 4))
    maps = [torch.arange(float(torch.Size(shape).numel())).sin().reshape(shape) for shape in shapes]
    teacher = list(map(term.of_teacher, term.stages, maps[:2]))
    assert term.loss(teacher, maps[2:]).item() == pytest.approx(GOLDEN, rel=1e-9)


@pytest.mark.usefixtures("float64")
def test_a_regressor_is_compared_by_the_definition() -> None:
    term = StageMaps(parts.task())
    taught = [torch.randn(2, 5, 8, 8), 30 * torch.randn(2, 6, 4, 4)]
    followed = [torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)]
    expected = 0.0
    for name, whole, maps in zip(WIDTHS, taught, followed, strict=True):
        layer: Any = term.learned[name]
        assert layer.weight.shape == (*reversed(WIDTHS[name]), 1, 1)
        mapped = torch.einsum("dc,bchw->bdhw", layer.weight[:, :, 0, 0], maps)
        mapped = (mapped + layer.bias[:, None, None]) * whole.square().mean().sqrt()
        expected += plain_distance(whole, mapped)
    assert term.loss(taught, followed).item() == pytest.approx(expected, rel=1e-10)


def test_a_stage_with_fewer_channels_in_the_teacher_has_a_regressor() -> None:
    task = parts.task(teacher=parts.network(1, (5, 3)).eval(), student_origins=parts.SAME_MODULES)
    term = StageMaps(task)
    assert list(term.learned) == ["4x4"]
    assert [term.line(stage) for stage in term.stages] == [
        "2 with 2 (3 of 5 channels)",
        "5 with 5 (a regressor from 4 to 3 channels)",
    ]


def test_a_module_that_started_from_another_one_has_a_regressor() -> None:
    """As the last block of a stage does, if the student has fewer blocks."""
    term = StageMaps(parts.task(student_origins={**parts.SAME_MODULES, "2": "5"}))
    assert list(term.learned) == ["8x8"]


def test_a_teachers_map_of_zeros_is_no_division_by_zero() -> None:
    term = StageMaps(parts.task(student_origins=parts.SAME_MODULES))
    zeros = [torch.zeros(2, c, size, size) for c, size in ((3, 8), (4, 4))]
    assert term.loss(zeros, zeros).item() == 0


def test_regressors_start_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (StageMaps(parts.task(seed=seed)).learned for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    parts.assert_equal(first.state_dict(), again.state_dict())
    assert not torch.equal(first["8x8"].weight, other["8x8"].weight)


def passed(network: nn.Sequential, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maps of both stages, and the logits."""
    wide = network[:3](inputs)
    deep = network[3:6](wide)
    return wide, deep, network[6:](deep)


class Plain:
    """The same updates by torch's modules and SGD by hand, with one learning rate."""

    def __init__(self, section: Any, selected: bool):
        self.section, self.selected, self.updates = section, selected, 0
        self.teacher, self.student = parts.teacher(), copy.deepcopy(parts.student()).train()
        start = StageMaps(parts.task()).learned
        self.regressors = nn.ModuleDict({} if selected else dict(copy.deepcopy(start).items()))
        self.parameters = [*self.student.parameters(), *self.regressors.parameters()]
        self.moments = [torch.zeros_like(parameter) for parameter in self.parameters]

    def update(self, held: Tensor) -> float:
        section, count = self.section, self.section.batch_size
        randomness = stream(parts.SEED, "distillation", self.updates, 0)
        images = held[torch.randint(len(held), (count,), generator=randomness)]
        views = views_of(section).of(images, *views_of(section).draw(count, randomness))
        inputs = parts.normalisation().from_uint8(views)
        with torch.no_grad():
            *taught, answer = passed(self.teacher, inputs)
        *followed, logits = passed(self.student, inputs)
        loss = distillation_loss(answer, logits, section.temperature)
        for name, whole, mine in zip(WIDTHS, taught, followed, strict=True):
            if self.selected:
                whole = evenly_spaced(whole, mine.shape)
            power = whole.square().mean()
            mapped = mine if self.selected else self.regressors[name](mine) * power.sqrt()
            loss = loss + section.stage_maps * (whole - mapped).square().mean() / power
        for each, moment, gradient in zip(
            self.parameters, self.moments, torch.autograd.grad(loss, self.parameters), strict=True
        ):
            decayed = gradient + section.weight_decay * each.detach()
            moment.mul_(section.momentum).add_(decayed)
            each.data -= section.lr * moment
        self.updates += 1
        return loss.item()


@pytest.mark.parametrize("selected", [True, False])
def test_updates_are_those_of_a_plain_transcription(selected: bool) -> None:
    section = distillation(stage_maps=WEIGHT, updates_per_round=12)  # one learning rate
    bank, held = filled_bank()
    origins = parts.SAME_MODULES if selected else {}
    ours, plain = distiller(section, student_origins=origins), Plain(section, selected)
    for _ in range(8):
        assert ours.update(bank).item() == pytest.approx(plain.update(held), rel=1e-4)
    for name, value in plain.student.state_dict().items():
        torch.testing.assert_close(ours.student_state()[name], value, rtol=1e-3, atol=1e-4)
    learned = ours.maps.learned.state_dict()
    assert len(learned) == (0 if selected else 4)
    for name, value in plain.regressors.state_dict().items():
        torch.testing.assert_close(learned[f"stage_maps.{name}"], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("selected", [True, False])
@pytest.mark.parametrize(
    "changes",
    [{"teacher_cache": 3}, {"mixup": 0.5, "random_shapes": 0.5}, {"frozen_norms": True}],
    ids=str,
)
def test_the_term_falls_and_a_resumed_distiller_goes_on(
    changes: dict[str, Any], selected: bool
) -> None:
    """With so large a weight that the logits hardly count."""
    bank, _ = filled_bank()
    section = distillation(stage_maps=1e3, lr=2e-5, min_lr=2e-5, **changes)

    def built() -> StudentDistiller:
        return distiller(section, student_origins=parts.SAME_MODULES if selected else {})

    ours, other = built(), built()
    losses = [ours.update(bank).item() for _ in range(40)]
    assert sum(losses[-9:]) < 0.8 * sum(losses[:9])
    other.load_state_dict(copy.deepcopy(ours.state_dict()))
    parts.assert_equal(
        [other.update(bank) for _ in range(3)], [ours.update(bank) for _ in range(3)]
    )
    parts.assert_equal(other.state_dict(), ours.state_dict())


def test_only_new_views_are_compared() -> None:
    bank, _ = filled_bank()
    ours = distiller(distillation(stage_maps=WEIGHT, teacher_cache=3))
    assert ours.cache is not None
    seen: list[tuple[int, ...]] = []
    term = ours.maps.terms["stage_maps"][1]
    compared = term.loss

    def loss(teacher: Any, student: Any) -> Tensor:
        seen.append(tuple(len(maps) for maps in (*teacher, *student)))
        return compared(teacher, student)

    term.loss = loss  # type: ignore[method-assign]
    while ours.cache.inserted < ours.cache.capacity:
        ours.update(bank)
    ours.update(bank)
    assert set(seen[:-1]) == {(6, 6, 6, 6)}
    assert seen[-1] == (2, 2, 2, 2)


def test_regressors_are_no_part_of_the_student() -> None:
    ours = distiller(distillation(stage_maps=WEIGHT))
    assert ours.student_state().keys() == parts.student().state_dict().keys()
    assert len(ours.state_dict()["maps"]) == 4


def test_the_teacher_is_folded_only_if_no_map_is_compared() -> None:
    for changes, folded in (({}, True), ({"stage_maps": 1.0}, False), ({"attention": 1.0}, False)):
        ours = distiller(distillation(**changes))
        assert isinstance(ours.teacher, type(parts.teacher())) is not folded


def test_both_terms_are_added() -> None:
    def first_loss(**weights: float) -> float:
        bank, _ = filled_bank()
        return distiller(distillation(**weights)).update(bank).item()

    plain = first_loss()
    maps, attention = first_loss(stage_maps=2.0) - plain, first_loss(attention=3.0) - plain
    assert min(maps, attention) > 0
    both = first_loss(stage_maps=4.0, attention=3.0) - plain
    assert both == pytest.approx(2 * maps + attention, rel=1e-4)


def test_a_state_of_an_earlier_version_has_no_maps() -> None:
    ours, other = (distiller(distillation()) for _ in range(2))
    state = copy.deepcopy(ours.state_dict())
    del state["maps"]
    other.load_state_dict(state)
    parts.assert_equal(other.state_dict(), ours.state_dict())
