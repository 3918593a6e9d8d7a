"""The four generative methods against the plain transcription, and their generator."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.methods import build_shared_generator, build_synthesizer
from fastdfkd.core.methods.generative import GenerativeMethod
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.persistent_generator import PersistentGenerator
from fastdfkd.core.random_streams import stream

from . import naive_generative as naive
from . import parts

ADVERSARIAL = ("zskt", "dfq", "dfad")


@pytest.fixture(params=parts.GENERATIVE)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(method: str, **changes: Any) -> GenerativeMethod:
    synthesizer = build_synthesizer(parts.generative_section(method, **changes), parts.task())
    assert isinstance(synthesizer, GenerativeMethod)
    return synthesizer


def some_inputs() -> Tensor:
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(6, *parts.IMAGE_SHAPE, generator=generator, dtype=torch.float64)
    return inputs.to(torch.get_default_dtype()).requires_grad_()


def seen(inputs: Tensor, student: Any = None) -> naive.Seen:
    return naive.Seen.of(parts.teacher(), student or parts.student(), inputs)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("which", naive.LOSSES)
def test_the_loss_and_its_gradient_are_the_papers(which: str) -> None:
    ours = built(which.partition(",")[0], **naive.CHANGES.get(which, {}))
    inputs = some_inputs()
    expected = naive.LOSSES[which](seen(inputs))
    (wanted,) = torch.autograd.grad(expected, inputs)
    with ours.objective.batch():
        terms = ours.objective(inputs, None, True)
    (found,) = torch.autograd.grad(terms[0], inputs)
    torch.testing.assert_close(terms[0].detach(), expected.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-10)
    assert wanted.abs().max() > 1e-6


@pytest.mark.parametrize("method", ADVERSARIAL)
def test_the_adversarial_term_has_the_true_student(method: str) -> None:
    """The earlier code passed the teacher twice: then this term is 0 and has no gradient."""
    ours = built(method)
    inputs = some_inputs()
    with ours.objective.batch():
        adv = ours.objective(inputs, None, True)[3].item()
    assert adv < -1e-3
    newer = parts.network(8, (3, 4)).eval()
    ours.load_student(newer.state_dict(), 2)
    with ours.objective.batch():
        terms = ours.objective(inputs, None, True)
    distance = naive.distance if method == "dfad" else naive.divergence
    assert terms[3].item() == pytest.approx(-distance(seen(inputs, newer)).item(), rel=1e-4)
    assert terms[3].item() != pytest.approx(adv, rel=1e-2)


def plain_round(
    training: naive.Training, which: str, section: Any, round: int, student: Any
) -> tuple[Tensor, list[float]]:
    """Noise in the order of the docstring: of each step, then of the images."""
    randomness = stream(parts.SEED, "synthesis", round)

    def drawn(count: int) -> Tensor:
        return torch.randn(count, section.latent_dim, generator=randomness)

    mean, std = parts.column(parts.MEAN), parts.column(parts.STD)

    def loss_of(images: Tensor) -> Tensor:
        return naive.LOSSES[which](seen((images - mean) / std, student))

    steps = [drawn(section.generator_batch_size) for _ in range(section.generator_steps)]
    losses = [training.step(z, loss_of) for z in steps]
    return training.images(drawn(section.batch_size), section.generator_batch_size), losses


@pytest.mark.usefixtures("float64")
def test_rounds_equal_the_plain_loop(method: str) -> None:
    """Three rounds of two steps, each with a newer student; ten images in parts of six."""
    section = parts.generative_section(method, generator_steps=2, batch_size=10)
    ours = built(method, generator_steps=2, batch_size=10)
    training = naive.Training(ours.shared.generator, section.lr_g)
    for round in range(3):
        student = parts.network(40 + round, (3, 4)).eval()
        ours.load_student(student.state_dict(), round)
        images, losses = plain_round(training, method, section, round, student)
        batch = ours.synthesize(round)
        assert batch.labels is None
        assert (batch.images.int() - images.int()).abs().max() <= 1, "rounding to uint8"
        assert (batch.images != images).float().mean() < 1e-3
        assert batch.provenance.losses["loss"] == pytest.approx(losses[-1], rel=1e-6)
        assert batch.provenance.generator_version == round
        for mine, plain in zip(
            ours.shared.generator.parameters(), training.generator.parameters(), strict=True
        ):
            torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-8)


def test_make_trains_a_copy_and_learn_takes_it_over(method: str) -> None:
    ours = built(method)
    before = copy.deepcopy(ours.shared.state_dict())
    _, update = ours.make(0)
    _, again = ours.make(0)
    parts.assert_equal(ours.shared.state_dict(), before)
    parts.assert_equal(update.tensors, again.tensors)
    ours.learn([update])
    parts.assert_equal(ours.shared.generator.state_dict(), ours.trained.generator.state_dict())
    parts.assert_equal(ours.shared.optimizer.state_dict(), ours.trained.optimizer.state_dict())
    assert ours.shared.version == 1
    other = ours.make(0, attempt=1)[1]
    assert not torch.equal(other.tensors[0], update.tensors[0])


def changed(update: MetaUpdate, by: float, **changes: Any) -> MetaUpdate:
    return replace(update, tensors=[tensor + by for tensor in update.tensors], **changes)


@pytest.mark.parametrize("order", [1, -1])
def test_the_copies_of_a_wave_are_averaged(method: str, order: int) -> None:
    shared = built(method).shared
    update = shared.update(0, 0)
    shared.learn([changed(update, 1.0, round=0), changed(update, 4.0, round=1)][::order])
    found, expected = shared.update(0, 0).tensors, [t + 2.5 for t in update.tensors]
    for mine, mean in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, mean)
    assert shared.version == 1


def test_a_stale_copy_moves_the_generator_by_a_part_of_the_way(method: str) -> None:
    """Two changes came in between: a third of the way."""
    shared = built(method).shared
    update = shared.update(0, 0)
    shared.learn([update])
    shared.learn([replace(update, base=1)])
    parts.assert_equal(shared.update(0, 0).tensors, update.tensors)
    shared.learn([changed(update, 3.0)])
    for mine, old in zip(shared.update(0, 0).tensors, update.tensors, strict=True):
        torch.testing.assert_close(mine, old + 1.0)


@pytest.mark.parametrize("base", [1, 2, 5])
def test_a_copy_of_a_version_that_a_restart_lost_is_taken_over(method: str, base: int) -> None:
    """The board fell back to version 0 of a checkpoint."""
    shared = built(method).shared
    update = changed(shared.update(0, 0), 3.0, base=base)
    shared.learn([update])
    parts.assert_equal(shared.update(0, 0).tensors, update.tensors)
    assert shared.version == 1


def test_a_shared_generator_makes_the_batches_of_a_lone_synthesizer(method: str) -> None:
    """As on the weight board: state out before a batch, the update back after it."""
    section = parts.generative_section(method)
    lone, member = (build_synthesizer(section, parts.task()) for _ in range(2))
    shared = build_shared_generator(section, parts.task())
    assert isinstance(shared, PersistentGenerator)
    for round in range(3):
        expected = lone.synthesize(round)
        shared.begin(round)
        member.load_generator(copy.deepcopy(shared.shared_state()))
        batch, update = member.make(round)
        shared.learn([update])
        assert torch.equal(batch.images, expected.images)
        assert batch.provenance.generator_version == expected.provenance.generator_version


def test_warm_up_trains_without_the_student() -> None:
    first, second = built("dfq", warmup_rounds=1), built("dfq", warmup_rounds=1, adv=0.0)
    assert torch.equal(first.synthesize(0).images, second.synthesize(0).images)
    assert not torch.equal(first.synthesize(1).images, second.synthesize(1).images)


def test_the_rate_may_fall_to_zero() -> None:
    rates = [parts.generative_section("zskt", lr_decay="cosine").lr_of(r) for r in (0, 3, 6)]
    assert rates == pytest.approx([1e-3, 5e-4, 0.0])
    still, first = built("zskt", lr_decay="cosine"), built("zskt", lr_decay="cosine")
    before = copy.deepcopy(still.shared.generator.state_dict())
    still.synthesize(6)
    parts.assert_equal(still.shared.generator.state_dict(), before)
    constant = built("zskt")
    assert torch.equal(first.synthesize(0).images, constant.synthesize(0).images)
    assert not torch.equal(first.synthesize(3).images, constant.synthesize(3).images)


def test_zskts_images_may_have_the_noise_of_the_generator_step() -> None:
    ours = built("zskt", same_noise=True)
    noise = ours.noise(2, 0)
    assert torch.equal(noise.images, noise.steps[-1])
    apart = built("zskt").noise(2, 0)
    assert not torch.equal(apart.images, apart.steps[-1])


def test_a_loss_that_is_not_finite_is_an_error_and_leaves_the_generator(method: str) -> None:
    teacher = parts.teacher()
    teacher[-1].bias.data.fill_(torch.inf)
    section = parts.generative_section(method)
    ours = build_synthesizer(section, parts.task(teacher=teacher))
    assert isinstance(ours, GenerativeMethod)
    before = copy.deepcopy(ours.shared.state_dict())
    with pytest.raises(DivergedError, match=r"round 2 diverged.*the teacher's logits"):
        ours.make(2)
    parts.assert_equal(ours.shared.state_dict(), before)
