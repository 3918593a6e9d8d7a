"""NAYER against the plain float64 transcription, its noisy layers, and when it is drawn anew."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core import captured as captured_module
from fastdfkd.core.augment import Augmentation
from fastdfkd.core.methods import build_shared_generator
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.methods.nayer import NAYER
from fastdfkd.core.noisy_generator import NoisyGenerator
from fastdfkd.core.random_streams import stream
from fastdfkd.core.renewed_generator import RenewedGenerator
from fastdfkd.recipe import NAYERSynthesis

from . import naive, naive_nayer, parts
from .tape import TapeRecorder

TIGHT = {"rtol": 1e-7, "atol": 1e-9}
LAYERS = (3, 4, 5)
"""Of seven images of three classes: number, length of a class vector, length of a code."""


def drawn(section: Any, round: int) -> tuple[Tensor, Tensor, list[Augmentation]]:
    """Noisy layers, labels and moves, in the order of the stream."""
    randomness = stream(parts.SEED, "synthesis", round)
    noise = torch.randn(LAYERS, generator=randomness)
    order = torch.randperm(parts.CLASSES, generator=randomness)
    labels = order[torch.arange(section.batch_size) % parts.CLASSES]
    moves = [
        Augmentation.draw(section.batch_size, section.crop_padding, True, False, randomness)
        for _ in range(section.steps)
    ]
    return noise, labels, moves


def transcription(ours: NAYER, section: NAYERSynthesis) -> naive_nayer.Synthesizer:
    objective = naive.Objective(
        parts.teacher(), parts.student(), section.bn_weight, section.oh, section.adv, 0.9
    )
    generator = ours.shared.generator
    assert isinstance(generator, NoisyGenerator)
    return naive_nayer.Synthesizer(generator, objective, section.lr_g, section.crop_padding)


@pytest.mark.usefixtures("float64")
def test_rounds_equal_the_formulation() -> None:
    """Six rounds; the student takes part from round 2, a new generator in rounds 2 and 4."""
    section = parts.nayer_section()
    ours = parts.nayer(section)
    reference = transcription(ours, section)
    columns = parts.column(parts.MEAN), parts.column(parts.STD)
    for round in range(6):
        before = ours.shared.life
        ours.shared.begin(round)
        assert (ours.shared.life != before) == (round in (2, 4))
        if ours.shared.life != before:
            reference.take(ours.shared.generator)
        noise, labels, moves = drawn(section, round)
        terms, images, gradients = reference.batch(noise, labels, moves, round > 1, *columns)
        batch = ours.synthesize(round)
        best = min(range(3), key=lambda step: terms[step]["loss"])
        assert torch.equal(batch.labels, labels)
        assert batch.provenance.losses == pytest.approx(terms[best], rel=1e-7, abs=1e-12)
        assert (batch.provenance.losses["adv"] < 0) == (round > 1)
        assert torch.equal(batch.images, naive.to_uint8(images[best]))
        for mine, *steps in zip(ours.copies.summed, *gradients, strict=True):
            torch.testing.assert_close(mine, sum(steps[1:], steps[0]), **TIGHT)
        for mine, plain in zip(
            ours.shared.generator.parameters(), reference.weights(), strict=True
        ):
            torch.testing.assert_close(mine, plain, **TIGHT)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("count", [2, 3, 4, 7, 9])
def test_codes_equal_the_rows(count: int) -> None:
    vectors = torch.randn(3, 4, generator=stream(0, "vectors"))
    generator = NoisyGenerator(vectors, 5, 4, (3, 8, 8))
    noise = torch.randn(generator.noise_shape(count), generator=stream(0, "noise"))
    labels = torch.arange(count) % 3
    trained, others = generator.inputs(noise, labels)
    layers = list(zip(*trained, strict=True))
    assert len(layers) == -(-count // 3)
    norm = generator.vector_norm
    plain = naive_nayer.codes(vectors, norm.weight, norm.bias, layers, labels)
    torch.testing.assert_close(generator.latent(*trained, *others), plain, **TIGHT)
    assert len(torch.unique(plain.round(decimals=6), dim=0)) == count


def test_the_true_student_stands_in_the_adversarial_term() -> None:
    ours = parts.nayer(parts.nayer_section())
    before = ours.make(2)[0].provenance.losses["adv"]
    ours.load_student(parts.network(8, (3, 4)).eval().state_dict(), 1)
    assert ours.make(2)[0].provenance.losses["adv"] != before
    assert before < 0


def test_class_vectors_of_the_user_are_used_and_kept() -> None:
    given = torch.arange(12.0).reshape(3, 4).square()
    section = parts.nayer_section()
    ours, seeded = parts.nayer(section, class_vectors=given), parts.nayer(section)
    state = copy.deepcopy(ours.state_dict())
    assert torch.equal(state["meta"]["generator"]["class_vectors"], given)
    images = ours.synthesize(1).images
    assert not torch.equal(images, seeded.synthesize(1).images)
    seeded.load_state_dict(state)
    assert torch.equal(images, seeded.synthesize(1).images)


def test_other_vectors_than_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one vector for each of 3 classes, got 4"):
        parts.nayer(parts.nayer_section(), class_vectors=torch.zeros(4, 2))


def test_a_class_for_each_pixel_is_refused() -> None:
    from fastdfkd.core.task_kind import Segmentation

    with pytest.raises(ValueError, match=r"one class for each image.*codes to noise"):
        parts.nayer(parts.nayer_section(), kind=Segmentation(parts.CLASSES))


@pytest.mark.parametrize(
    ("changes", "lives"),
    [
        ({}, [0, 0, 0, 0, 0, 1, 1, 2]),
        ({"warmup_renew_every": 2}, [0, 0, 1, 1, 2, 3, 3, 4]),
        ({"renew_every": None}, [0, 0, 0, 0, 0, 1, 1, 1]),
        ({"warmup_renew_every": None, "warmup_rounds": 0}, [0, 0, 1, 1, 2, 2, 3, 3]),
    ],
    ids=str,
)
def test_the_generator_is_drawn_anew(changes: dict[str, Any], lives: list[int]) -> None:
    section = parts.nayer_section(**{"rounds": 8, "warmup_rounds": 5, **changes})
    assert [section.life_of(round) for round in range(8)] == lives


def test_the_papers_schedule_is_the_default() -> None:
    """Every ten epochs of ten batches, then of two: 160,000 images in all."""
    section = NAYERSynthesis(method="nayer")
    new = [r for r in range(1, section.rounds) if section.life_of(r) > section.life_of(r - 1)]
    assert new == [100, *range(200, 400, 20)]
    assert section.rounds * section.batch_size == 160_000


def shared_generator() -> RenewedGenerator:
    shared = build_shared_generator(parts.nayer_section(), parts.task())
    assert isinstance(shared, RenewedGenerator)
    return shared


def test_a_batch_from_before_the_new_generator_has_no_influence() -> None:
    shared = shared_generator()
    update = shared.update_of(1, [], [p.detach() + 1 for p in shared.generator.parameters()])
    shared.begin(2)
    before = copy.deepcopy(shared.state_dict())
    assert before["version"] == before["born"] == 1
    shared.learn([update])
    parts.assert_equal(shared.state_dict(), before)
    shared.learn([update, replace(update, round=2, base=1)])
    assert shared.version == 2
    for mine, trained in zip(shared.generator.parameters(), update.tensors, strict=True):
        assert torch.equal(mine, trained)


@pytest.mark.parametrize("order", [1, -1])
def test_the_copies_of_a_wave_are_averaged(order: int) -> None:
    shared = shared_generator()
    weights = [p.detach().clone() for p in shared.generator.parameters()]
    updates = [shared.update_of(r, [], [w + by for w in weights]) for r, by in ((0, 1.0), (1, 4.0))]
    shared.learn(updates[::order])
    for mine, old in zip(shared.generator.parameters(), weights, strict=True):
        torch.testing.assert_close(mine.detach(), old + 2.5)


def test_a_shared_generator_makes_the_batches_of_a_lone_synthesizer() -> None:
    section = parts.nayer_section()
    lone, member, shared = parts.nayer(section), parts.nayer(section), shared_generator()
    for round in range(5):
        expected = lone.synthesize(round)
        shared.begin(round)
        member.load_generator(copy.deepcopy(shared.shared_state()))
        batch, update = member.make(round)
        shared.learn([update])
        assert torch.equal(batch.images, expected.images)
        assert batch.provenance.generator_version == expected.provenance.generator_version


def test_bfloat16_starts_where_float32_does() -> None:
    section = parts.nayer_section(steps=1)
    losses = [
        dict(parts.nayer(section, precision=p).synthesize(2).provenance.losses)
        for p in ("float32", "bfloat16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=5e-2, abs=1e-2)
    assert losses[1] != losses[0]


def test_fused_norms_and_hooks_give_the_same_batch() -> None:
    from fastdfkd.core.network_use import NetworkUse

    hooked = NetworkUse(left_out={"fused_norms": "this test"})
    results = [
        parts.nayer(parts.nayer_section(), teacher_use=use).synthesize(2).provenance.losses
        for use in (NetworkUse(), hooked)
    ]
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_a_captured_step_replays_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    captured = parts.nayer(parts.nayer_section(steps=6), capture=True)
    plain = parts.nayer(parts.nayer_section(steps=6))
    for round in range(5):
        batches = captured.synthesize(round), plain.synthesize(round)
        assert torch.equal(batches[0].images, batches[1].images)
        assert batches[0].provenance.losses == batches[1].provenance.losses


CLASS_CODES = {"codes": "classes", "balanced_labels": True, "class_vector_size": 4}


@pytest.mark.parametrize("meta", ["fomaml", "reptile", "sequential", "none"])
def test_fast_may_read_classes(meta: str) -> None:
    """The meta-generator learns its BatchNorm of class vectors too; states go round."""
    section = parts.fast_section(**CLASS_CODES, meta=meta)
    ours, resumed = parts.fast(section), parts.fast(section)
    assert isinstance(ours, FastSynthesizer)
    before = ours.generator.vector_norm.weight.detach().clone()
    ours.synthesize(0)
    assert torch.equal(before, ours.generator.vector_norm.weight) == (meta == "none")
    resumed.load_state_dict(copy.deepcopy(ours.state_dict()))
    assert torch.equal(ours.synthesize(1).images, resumed.synthesize(1).images)


def test_nayer_may_read_noise() -> None:
    ours = parts.nayer(parts.nayer_section(codes="noise"))
    assert ours.noise_shape == (7, 5)
    assert ours.synthesize(0).images.shape == (7, *parts.IMAGE_SHAPE)


def test_cmi_may_read_classes() -> None:
    ours = parts.cmi(parts.cmi_section(**CLASS_CODES))
    assert ours.noise_shape == (2, 4, 5)
    losses = ours.synthesize(1).provenance.losses
    assert losses["cr"] > 0
    weights = {name: p.detach() for name, p in ours.generator.named_parameters()}
    assert weights["vector_norm.weight"].mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.gpu
def test_a_batch_on_cuda() -> None:
    ours = parts.nayer(parts.nayer_section(), device="cuda")
    ours.synthesize(0)
    batch = ours.synthesize(2)
    assert batch.images.device.type == "cuda"
    assert batch.provenance.losses["adv"] < 0
