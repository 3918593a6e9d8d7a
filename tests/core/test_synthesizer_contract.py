"""The contract of `Synthesizer`, tested for every implementation."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.loss_terms import TERMS, Best
from fastdfkd.recipe import METHODS
from fastdfkd.recipe.methods import ShapesSynthesis

from . import parts

SECTIONS = {
    "fast": parts.fast_section(),
    "deep_inversion": parts.deep_section(),
    "cmi": parts.cmi_section(),
    "nayer": parts.nayer_section(),
    "shapes": ShapesSynthesis(
        method="shapes", rounds=6, warmup_rounds=1, batch_size=8, shapes=3, candidates=2
    ),
    **{name: parts.generative_section(name) for name in parts.GENERATIVE},
}
STUDENT = {
    **{name: {0: True} for name in ("zskt", "dfq", "dfad")},
    **{name: {0: False, 1: False} for name in ("dafl", "shapes")},
    "nayer": {1: False, 2: True},
}
"""Methods whose student does not begin after warm-up: rounds, and whether it takes part in them."""


@pytest.fixture(params=[name for name in METHODS if name != "auto"])  # it becomes another one
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(method: str) -> Callable[..., Synthesizer]:
    def built(**changes: object) -> Synthesizer:
        section = SECTIONS[method].model_copy(update=changes)
        return build_synthesizer(section, parts.task(), 3)

    return built


def test_a_batch_is_what_the_bank_takes(method: str, build: Callable[..., Synthesizer]) -> None:
    batch = build().synthesize(2)
    count = SECTIONS[method].batch_size
    assert batch.images.shape == (count, *parts.IMAGE_SHAPE)
    assert batch.images.dtype is torch.uint8
    assert batch.images.is_contiguous()
    assert int(batch.images.max()) > int(batch.images.min())
    if batch.labels is None:
        assert method in (*parts.GENERATIVE, "shapes")
    else:
        assert batch.labels.shape == (count,)
        assert set(batch.labels.tolist()) <= set(range(parts.CLASSES))
    assert (batch.provenance.round, batch.provenance.synthesizer) == (2, 3)
    assert tuple(batch.provenance.losses)[:4] == TERMS
    assert batch.provenance.synthesis_seconds > 0
    assert batch.provenance.steps == getattr(SECTIONS[method], "steps", 0)


def test_synthesize_is_make_then_learn(build: Callable[..., Synthesizer]) -> None:
    whole, halves = build(), build()
    for round in range(2):
        batch, update = halves.make(round)
        assert update.round == round
        halves.learn([update])
        assert torch.equal(batch.images, whole.synthesize(round).images)


def test_making_twice_gives_the_same_batch(build: Callable[..., Synthesizer]) -> None:
    """`make` changes only the BatchNorm estimate; `learn` changes the generator."""
    synthesizer = build(bn=0.0)
    first, again = synthesizer.make(2)[0], synthesizer.make(2)[0]
    assert torch.equal(first.images, again.images)
    assert first.provenance.losses == again.provenance.losses


def test_the_student_takes_part_after_warm_up(
    method: str, build: Callable[..., Synthesizer]
) -> None:
    newer = parts.network(8, (3, 4)).eval().state_dict()
    for round, matters in STUDENT.get(method, {0: False, 1: True}).items():
        old, new = build(), build()
        new.load_student(newer, 5)
        batches = old.make(round)[0], new.make(round)[0]
        assert (batches[0].provenance.losses == batches[1].provenance.losses) != matters
        assert [b.provenance.student_version for b in batches] == [0, 5]


def test_state_goes_round(build: Callable[..., Synthesizer]) -> None:
    straight = build()
    straight.synthesize(0)
    resumed = build()
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for round in (1, 2):
        batches = straight.synthesize(round), resumed.synthesize(round)
        assert torch.equal(batches[0].images, batches[1].images)
        assert batches[0].provenance.losses == batches[1].provenance.losses


@pytest.mark.parametrize(
    "method",
    [name for name in SECTIONS if "balanced_labels" in METHODS[name].model_fields],
)
@pytest.mark.parametrize("count", [6, 7, 9])
def test_balanced_labels(build: Callable[..., Synthesizer], count: int) -> None:
    labels = build(balanced_labels=True, batch_size=count, steps=1).make(0)[0].labels
    counts = torch.bincount(labels, minlength=parts.CLASSES)
    assert counts.sum() == count
    assert counts.max() - counts.min() == (1 if count % parts.CLASSES else 0)


def offered(*losses: float) -> Best:
    best = Best()
    for step, loss in enumerate(losses):
        kept = torch.full((1, 1, 1, 1), float(step))
        best.offer(torch.tensor([loss, 0.0, 0.0, 0.0]), kept, kept[..., 0, 0] + 10)
    return best


@pytest.mark.parametrize(
    ("losses", "kept"),
    [((3, 1, 2), 1), ((1, 1, 1), 0), ((3, 2, 1), 2)],
    ids=str,
)
def test_the_lowest_loss_is_kept(losses: tuple[float, ...], kept: int) -> None:
    images, answers, terms = offered(*losses).take(0)
    assert images.item() == kept
    assert answers.item() == kept + 10
    assert terms["loss"] == losses[kept]


def test_images_kept_do_not_change_when_the_pixels_move_on() -> None:
    pixels = torch.zeros(1, 1, 1, 1)
    best = Best()
    for loss in (1.0, 2.0):
        best.offer(torch.tensor([loss, 0.0, 0.0, 0.0]), pixels, pixels)
        pixels.add_(1)
    assert best.take(0)[0].item() == 0


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_step_without_a_finite_loss_is_an_error(loss: float, step: int) -> None:
    losses = [3.0, 2.0, 1.0]
    losses[step] = loss
    with pytest.raises(FloatingPointError, match=r"round 7 diverged.*float32"):
        offered(*losses).take(7)


class ColdStudent(torch.nn.Module):
    """Its logits in eval mode are infinite until it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = parts.student()
        self.register_buffer("warm", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(x) / self.warm
        return logits


@pytest.mark.parametrize("make", ["fast", "deep", "cmi", "nayer"])
def test_the_adversarial_term_is_off_until_the_student_is_finite(make: str) -> None:
    section = getattr(parts, f"{make}_section")
    student = ColdStudent()
    cold = getattr(parts, make)(section(), student=student)
    without = getattr(parts, make)(section(adv=0.0), student=ColdStudent())
    batches = [synthesizer.synthesize(2) for synthesizer in (cold, without)]
    assert torch.equal(batches[0].images, batches[1].images)
    assert "eval mode" in batches[0].provenance.note
    assert batches[1].provenance.note == ""
    state = {**student.state_dict(), "warm": torch.ones(())}
    cold.load_student(state, 1)
    warm = cold.synthesize(3)
    assert warm.provenance.note == ""
    assert warm.provenance.losses["adv"] != 0


@pytest.mark.parametrize("make", ["fast", "deep", "cmi", "nayer"])
def test_a_teacher_that_is_not_finite_is_named(make: str) -> None:
    teacher = parts.teacher()
    teacher[-1].bias.data.fill_(torch.inf)
    synthesizer = getattr(parts, make)(getattr(parts, f"{make}_section")(), teacher=teacher)
    with pytest.raises(FloatingPointError, match=r"round 2 diverged.*the teacher's logits"):
        synthesizer.make(2)
