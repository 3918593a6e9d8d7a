"""What the meta-generator learns from rounds of FastDFKD."""

from __future__ import annotations

import copy

import pytest
import torch

from fastdfkd.core.interfaces import MetaUpdate

from . import parts
from .rounds import SHARED, TIGHT, assert_lists_close, draws, theta


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scale", [1.0, 67.0])
def test_reptiles_update_by_hand(scale: float) -> None:
    """The first Adam step on c * (theta - theta') is lr * g / (|g| + eps), lr = k * lr_g."""
    section = parts.fast_section(meta="reptile", reptile_scale=scale)
    synthesizer = parts.fast(section)
    before = theta(synthesizer)
    _, update = synthesizer.make(0)
    fast = parts.naive_fast(synthesizer, section).inner_loop(*draws(section, 0), False)
    expected = [scale * (old - new) for old, new in zip(before, fast.fast, strict=True)]
    assert_lists_close(update.tensors, expected, **TIGHT)
    synthesizer.learn([update])
    stepped = [p - 3 * 5e-3 * g / (g.abs() + 1e-8) for p, g in zip(before, expected, strict=True)]
    assert_lists_close(theta(synthesizer), stepped, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("float64")
def test_a_meta_learning_rate_of_its_own() -> None:
    section = parts.fast_section(meta_lr=1e-4)
    synthesizer = parts.fast(section)
    before = theta(synthesizer)
    _, update = synthesizer.make(0)
    synthesizer.learn([update])
    stepped = [p - 1e-4 * g / (g.abs() + 1e-8) for p, g in zip(before, update.tensors, strict=True)]
    assert_lists_close(theta(synthesizer), stepped, rtol=0, atol=1e-12)


def test_sequential_reuse_replaces_theta() -> None:
    synthesizer = parts.fast(parts.fast_section(meta="sequential"))
    _, update = synthesizer.make(0)
    synthesizer.learn([update])
    assert_lists_close(theta(synthesizer), update.tensors, rtol=0, atol=0)
    other = MetaUpdate(1, [x + 1 for x in update.tensors])
    synthesizer.learn([other, update])
    assert_lists_close(theta(synthesizer), other.tensors, rtol=0, atol=0)


def test_without_reuse_every_batch_has_a_theta_of_its_own() -> None:
    section = parts.fast_section(meta="none")
    synthesizer, late = parts.fast(section), parts.fast(section)
    seen = []
    for round in range(3):
        synthesizer.synthesize(round)
        seen.append(theta(synthesizer))
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert not torch.equal(seen[a][0], seen[b][0])
    late.synthesize(2)
    assert_lists_close(theta(late), seen[2], rtol=0, atol=0)


def test_first_layers_are_reset_once() -> None:
    """warm-up 1, reset_after 2: before round 3, and never again."""
    section = parts.fast_section(reset_after=2, latent_dim=64, rounds=9)
    synthesizer = parts.fast(section)
    meta, resets = synthesizer.meta, []
    for round in range(9):
        before = {n: p.detach().clone() for n, p in meta.generator.named_parameters()}
        meta.begin(round)
        changed = {n for n, p in meta.generator.named_parameters() if not torch.equal(p, before[n])}
        if changed:
            resets.append(round)
            assert changed == set(list(before)[:4])
            weight, bias, norm_weight, norm_bias = list(meta.generator.parameters())[:4]
            assert weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert abs(weight.mean().item()) < 0.02 * 5 / weight.numel() ** 0.5
            assert 0 < norm_weight.abs().max() < 0.1
            assert not bias.any()
            assert not norm_bias.any()
        synthesizer.synthesize(round)
    assert resets == [3]


def test_a_reset_that_was_missed_comes_late_and_is_remembered() -> None:
    section = parts.fast_section(reset_after=2)
    synthesizer = parts.fast(section)
    before = synthesizer.meta.generator.project.weight.detach().clone()
    synthesizer.meta.begin(5)
    assert not torch.equal(before, synthesizer.meta.generator.project.weight)
    resumed = parts.fast(section)
    resumed.load_state_dict(copy.deepcopy(synthesizer.state_dict()))
    before = resumed.meta.generator.project.weight.detach().clone()
    resumed.meta.begin(6)
    assert torch.equal(before, resumed.meta.generator.project.weight)


@pytest.mark.parametrize("meta", SHARED)
def test_the_order_of_updates_does_not_matter(meta: str) -> None:
    section = parts.fast_section(meta=meta)
    synthesizer = parts.fast(section)
    updates = [synthesizer.make(round)[1] for round in range(3)]
    outcomes = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        other = parts.fast(section)
        other.learn([updates[i] for i in order])
        assert other.meta.version == 1
        outcomes.append(theta(other))
    for outcome in outcomes[1:]:
        assert_lists_close(outcome, outcomes[0], rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("meta", ["fomaml", "reptile"])
def test_several_updates_are_averaged(meta: str) -> None:
    section = parts.fast_section(meta=meta)
    several = parts.fast(section)
    updates = [several.make(round)[1] for round in range(3)]
    expected = copy.deepcopy(several.meta.generator)
    adam = torch.optim.Adam(expected.parameters(), lr=3 * 5e-3, betas=(0.5, 0.999), foreach=False)
    for parameter, *gradients in zip(
        expected.parameters(), *(u.tensors for u in updates), strict=True
    ):
        parameter.grad = (gradients[0] + gradients[1] + gradients[2]) / 3
    adam.step()
    several.learn(updates)
    assert_lists_close(theta(several), expected.parameters(), rtol=1e-9, atol=1e-11)


def test_no_update_is_no_step() -> None:
    synthesizer = parts.fast(parts.fast_section())
    before = theta(synthesizer)
    synthesizer.learn([])
    assert synthesizer.meta.version == 0
    assert_lists_close(theta(synthesizer), before, rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("meta", ["fomaml", "reptile"])
def test_an_updates_memory_layout_does_not_matter(meta: str) -> None:
    """Sending updates between processes may change their strides, but not their values."""
    section = parts.fast_section(meta=meta)
    outcomes = []
    for layout in (torch.contiguous_format, torch.channels_last):
        synthesizer = parts.fast(section)
        _, update = synthesizer.make(0)
        tensors = [x.contiguous(memory_format=layout) if x.ndim == 4 else x for x in update.tensors]
        synthesizer.learn([MetaUpdate(0, tensors)])
        outcomes.append(theta(synthesizer))
    assert_lists_close(*outcomes, rtol=0, atol=0)
