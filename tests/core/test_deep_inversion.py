"""DeepInversion against the naive float64 loop."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from fastdfkd.core.random_streams import stream
from fastdfkd.recipe import DeepInversionSynthesis

from . import naive, parts


def naive_batch(
    section: DeepInversionSynthesis, round: int
) -> tuple[list[dict[str, float]], list[Tensor], Tensor]:
    """Loss terms and normalised images of every step, and the labels."""
    randomness = stream(parts.SEED, "synthesis", round)
    count, steps = section.batch_size, section.steps
    channels, height, width = parts.IMAGE_SHAPE
    x = torch.randn(count, channels, height, width, generator=randomness)
    labels = torch.randint(parts.CLASSES, (count,), generator=randomness)
    rolls = [
        torch.randint(-limit, limit + 1, (steps,), generator=randomness)
        for limit in (int(height * section.jitter), int(width * section.jitter))
    ]
    flips = torch.randint(2, (steps,), generator=randomness)
    objective = naive.Objective(
        parts.teacher(), parts.student(), section.bn, section.oh, section.adv, js_temperature=3.0
    )
    mean, std = parts.column(parts.MEAN), parts.column(parts.STD)
    x.requires_grad_()
    adam = torch.optim.Adam([x], lr=section.lr, betas=(0.5, 0.99), foreach=False, fused=False)
    found, images = [], []
    for down, right, flip in zip(*rolls, flips, strict=True):
        seen = naive.roll_flip(x, int(down), int(right), section.flip and bool(flip))
        terms = objective.terms(seen, labels, round >= section.warmup_rounds)
        loss = terms["loss"] + section.l2 * x.square().sum().sqrt()
        loss = loss + section.tv * naive.total_variation(x)
        found.append({**{k: v.item() for k, v in terms.items()}, "loss": loss.item()})
        images.append(x.detach().clone())
        adam.zero_grad()
        loss.backward()
        adam.step()
        x.data = torch.minimum(torch.maximum(x.data, (0 - mean) / std), (1 - mean) / std)
    return found, images, labels


VARIANTS: list[dict[str, Any]] = [
    {},
    {"tv": 0.01, "l2": 0.02},
    {"lr": 2.0, "steps": 8},
    {"jitter": 0.4, "flip": False, "adv": 0.0, "bn": 0.0},
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("round", [0, 1])
def test_a_batch_equals_the_formulation(changes: dict[str, Any], round: int) -> None:
    section = parts.deep_section(**changes)
    batch, _ = parts.deep(section).make(round)
    terms, images, labels = naive_batch(section, round)
    losses = [step["loss"] for step in terms]
    best = losses.index(min(losses))
    expected = terms[best]
    if section.bn == 0:
        expected = {**expected, "bn": 0.0}
    if section.adv == 0:
        expected = {**expected, "adv": 0.0}
    assert batch.provenance.losses == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert (batch.provenance.losses["adv"] < 0) == (round > 0 and section.adv > 0)
    pixels = images[best] * parts.column(parts.STD) + parts.column(parts.MEAN)
    assert torch.equal(batch.images, naive.to_uint8(pixels))
    assert torch.equal(batch.labels, labels)


@pytest.mark.usefixtures("float64")
def test_the_variants_keep_an_earlier_step_too() -> None:
    """The large learning rate overshoots, so "best" is not "last" everywhere above."""
    losses = [step["loss"] for step in naive_batch(parts.deep_section(lr=2.0, steps=8), 1)[0]]
    assert losses.index(min(losses)) < 7


def test_float32_follows_float64() -> None:
    section = parts.deep_section()
    batch = parts.deep(section).synthesize(1)
    terms, _, _ = naive_batch(section, 1)
    assert batch.provenance.losses == pytest.approx(terms[-1], rel=1e-3)


def test_batches_do_not_depend_on_each_other() -> None:
    section = parts.deep_section()
    one = parts.deep(section)
    for round in range(3):
        one.synthesize(round)
    assert torch.equal(one.synthesize(3).images, parts.deep(section).synthesize(3).images)
    assert one.state_dict() == {}


def test_bfloat16_starts_where_float32_does() -> None:
    section = parts.deep_section(steps=1)
    exact = parts.deep(section).synthesize(1).provenance.losses
    half = parts.deep(section, precision="bfloat16").synthesize(1).provenance.losses
    assert half == pytest.approx(dict(exact), rel=2e-2, abs=1e-3)
    assert half != exact


@pytest.mark.gpu
def test_a_batch_on_cuda() -> None:
    batch = parts.deep(parts.deep_section(), device="cuda").synthesize(1)
    assert batch.images.device.type == "cuda"
    assert all(abs(value) < 1e6 for value in batch.provenance.losses.values())


def test_the_first_steps_see_pooled_images_and_the_kept_one_is_of_full_size() -> None:
    section = parts.deep_section(steps=7, pooled_steps=3, lr_warmup=1, lr_decay="cosine")
    synthesizer, sizes, losses = parts.deep(section), [], []
    objective = synthesizer.objective
    call = type(objective).__call__

    def spied(self: Any, inputs: Tensor, labels: Tensor, adversarial: bool) -> Tensor:
        terms = call(self, inputs, labels, adversarial)
        sizes.append(tuple(inputs.shape[2:]))
        losses.append(terms[0].item())
        return terms

    with mock.patch.object(type(objective), "__call__", spied):
        made = synthesizer.optimised(0, 0, False)
    height, width = parts.IMAGE_SHAPE[1:]
    assert sizes == [(height // 2, width // 2)] * 3 + [(height, width)] * 4
    assert made.images.shape[1:] == parts.IMAGE_SHAPE
    assert made.losses["loss"] in [pytest.approx(loss, rel=1e-5) for loss in losses[3:]]


def test_the_learning_rate_starts_anew_with_the_resolution() -> None:
    section = parts.deep_section(steps=7, pooled_steps=3, lr=0.4, lr_warmup=1, lr_decay="cosine")
    rates = [section.lr_of(step) for step in range(7)]
    half = [0.5, 1, 1, 0.5, 1, 1, 1]
    cosine = [1, 0.75, 0.25, 1, 0.8535534, 0.5, 0.1464466]
    assert rates == pytest.approx([0.4 * a * b for a, b in zip(half, cosine, strict=True)])
    assert {parts.deep_section(steps=7).lr_of(step) for step in range(7)} == {
        parts.deep_section(steps=7).lr
    }
    with pytest.raises(ValueError, match=r"pooled_steps \(7\) must be below steps"):
        parts.deep_section(steps=7, pooled_steps=7)
