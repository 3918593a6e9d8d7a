"""One and two rounds of FastDFKD against the naive float64 formulation."""

from __future__ import annotations

import copy

import pytest
import torch

from fastdfkd.core.methods.fast import FastSynthesizer

from . import naive, parts
from .rounds import SHARED, TIGHT, assert_lists_close, both, draws, same, theta


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("meta", SHARED)
def test_rounds_equal_the_formulation(meta: str, invert: bool) -> None:
    """A warm-up round and two with the student: terms, images, gradients, theta, estimates."""
    section = parts.fast_section(meta=meta, invert=invert)
    synthesizer = parts.fast(section)
    reference = parts.naive_fast(synthesizer, section)
    for round in range(3):
        ours, expected = both(synthesizer, reference, section, round)
        best = expected.best
        assert ours.losses == pytest.approx(expected.terms[best], rel=1e-9)
        assert (ours.losses["adv"] < 0) == (round > 0)
        torch.testing.assert_close(ours.images, expected.images[best], **TIGHT)
        assert_lists_close(ours.summed_gradients, expected.summed(), **TIGHT)
        assert_lists_close(ours.fast, expected.fast, **TIGHT)
        before = theta(synthesizer)
        update = synthesizer.meta.update_of(round, ours.summed_gradients, ours.fast)
        assert_lists_close(theta(synthesizer), before, rtol=0, atol=0)
        synthesizer.learn([update])
        reference.learn(expected)
        assert_lists_close(theta(synthesizer), reference.theta.parameters(), **TIGHT)
        state = synthesizer.objective.statistics.state_dict()
        for name, (mean, var) in zip(("1", "4"), reference.objective.running, strict=True):
            torch.testing.assert_close(state[f"{name}.mean"], mean, **TIGHT)
            torch.testing.assert_close(state[f"{name}.var"], var, **TIGHT)


@pytest.mark.usefixtures("float64")
def test_the_comparison_exercises_the_mask() -> None:
    """Teacher and student agree on some images and differ on others."""
    section = parts.fast_section()
    z, _, moves = draws(section, 1)
    images = naive.augment(parts.fast(section).meta.generator(z), moves[0], section.crop_padding)
    inputs = (images - parts.column(parts.MEAN)) / parts.column(parts.STD)
    agree = parts.teacher()(inputs).argmax(1) == parts.student()(inputs).argmax(1)
    assert 0 < int(agree.sum()) < len(agree)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("lr_g", [1.0, 2.0])
def test_the_lowest_loss_step_is_kept_though_it_is_not_the_last(lr_g: float) -> None:
    section = parts.fast_section(lr_g=lr_g, lr_z=0.5, steps=6)
    synthesizer = parts.fast(section)
    ours, expected = both(synthesizer, parts.naive_fast(synthesizer, section), section, 1)
    assert expected.best < section.steps - 1
    assert ours.losses == pytest.approx(expected.terms[expected.best], rel=1e-6)
    torch.testing.assert_close(ours.images, expected.images[expected.best], rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("meta", SHARED)
def test_synthesize_is_the_whole_round(meta: str) -> None:
    """`synthesize` draws z, labels and moves in this order, rounds images, and updates theta."""
    section = parts.fast_section(meta=meta)
    synthesizer = parts.fast(section)
    reference = parts.naive_fast(synthesizer, section)
    for round in range(2):
        batch = synthesizer.synthesize(round)
        _, labels, _ = drawn = draws(section, round)
        expected = reference.inner_loop(*drawn, round > 0)
        reference.learn(expected)
        assert torch.equal(batch.labels, labels)
        assert torch.equal(batch.images, naive.to_uint8(expected.images[expected.best]))
        assert batch.provenance.losses == pytest.approx(expected.terms[expected.best], rel=1e-9)
        assert batch.provenance.generator_version == round
        assert batch.provenance.synthesis_seconds > 0
        assert_lists_close(theta(synthesizer), reference.theta.parameters(), **TIGHT)


@pytest.mark.parametrize("meta", SHARED)
def test_float32_follows_float64(meta: str) -> None:
    section = parts.fast_section(meta=meta)
    synthesizer = parts.fast(section)
    reference = parts.naive_fast(synthesizer, section)
    ours, expected = both(synthesizer, reference, section, 1)
    assert ours.losses == pytest.approx(expected.terms[expected.best], rel=1e-3)
    assert_lists_close(ours.summed_gradients, expected.summed(), rtol=2e-2, atol=2e-3)
    synthesizer.learn([synthesizer.meta.update_of(1, ours.summed_gradients, ours.fast)])
    reference.learn(expected)
    assert_lists_close(theta(synthesizer), reference.theta.parameters(), rtol=1e-3, atol=2e-3)


@pytest.mark.usefixtures("float64")
def test_without_reuse_the_round_equals_the_formulation() -> None:
    section = parts.fast_section(meta="none", bn_momentum=0.0)
    synthesizer = parts.fast(section)
    batch = synthesizer.synthesize(2)
    expected = parts.naive_fast(synthesizer, section).inner_loop(*draws(section, 2), True)
    assert batch.provenance.losses == pytest.approx(expected.terms[expected.best], rel=1e-9)
    assert torch.equal(batch.images, naive.to_uint8(expected.images[expected.best]))


def test_no_adversarial_term_in_warm_up() -> None:
    synthesizer = parts.fast(parts.fast_section(warmup_rounds=2))
    found = [synthesizer.synthesize(round).provenance.losses["adv"] for round in range(3)]
    assert found[:2] == [0, 0]
    assert found[2] < 0


def test_the_newest_student_is_the_adversary() -> None:
    section = parts.fast_section()
    changed = parts.fast(section)
    newer = parts.network(5, (3, 4)).eval()
    changed.load_student(newer.state_dict(), 7)
    batch, _ = changed.make(1)
    assert batch.provenance.student_version == 7
    fresh = FastSynthesizer(section, parts.task(student=newer))
    assert torch.equal(batch.images, fresh.make(1)[0].images)
    old, _ = parts.fast(section).make(1)
    assert batch.provenance.losses["adv"] != old.provenance.losses["adv"]


def test_the_students_own_network_is_not_touched() -> None:
    """The synthesizer works on a copy: the distiller's student stays trainable."""
    student = parts.student().train()
    before = copy.deepcopy(student.state_dict())
    FastSynthesizer(parts.fast_section(), parts.task(student=student)).synthesize(1)
    assert student.training
    assert all(p.requires_grad and p.grad is None for p in student.parameters())
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())


def test_the_teacher_does_not_change() -> None:
    teacher = parts.teacher()
    before = copy.deepcopy(teacher.state_dict())
    FastSynthesizer(parts.fast_section(), parts.task(teacher=teacher)).synthesize(1)
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


def test_a_batch_follows_from_seed_and_round() -> None:
    section = parts.fast_section()
    batch, _ = parts.fast(section).make(3)
    torch.randn(5)
    assert same(batch, parts.fast(section, index=4).make(3)[0])
    assert not same(batch, parts.fast(section).make(4)[0])
    assert not same(batch, parts.fast(section, seed=parts.SEED + 1).make(3)[0])


def test_making_a_batch_leaves_torchs_own_random_state_alone() -> None:
    before = torch.get_rng_state()
    parts.fast(parts.fast_section(reset_after=1)).synthesize(3)
    parts.fast(parts.fast_section(meta="none")).synthesize(3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("meta", [*SHARED, "none"])
def test_resuming_in_the_middle_changes_no_bit(meta: str) -> None:
    section = parts.fast_section(meta=meta, reset_after=3)
    straight, first = parts.fast(section), parts.fast(section)
    for round in range(2):
        straight.synthesize(round)
        first.synthesize(round)
    resumed = parts.fast(section)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    for round in range(2, 6):
        assert same(straight.synthesize(round), resumed.synthesize(round))
    assert_lists_close(theta(resumed), theta(straight), rtol=0, atol=0)
    assert resumed.meta.version == straight.meta.version


@pytest.mark.parametrize("meta", ["fomaml", "reptile"])
def test_a_states_memory_layout_does_not_matter(meta: str) -> None:
    """A store may return row-major tensors; the weights here are channels_last."""
    section = parts.fast_section(meta=meta)
    straight = parts.fast(section)
    for round in range(2):
        straight.synthesize(round)
    resumed = parts.fast(section)
    resumed.load_state_dict(parts.contiguous(straight.state_dict()))
    batches = straight.synthesize(2), resumed.synthesize(2)
    assert same(*batches)
    assert_lists_close(theta(resumed), theta(straight), rtol=0, atol=0)


def test_bfloat16_runs_and_starts_where_float32_does() -> None:
    section = parts.fast_section(steps=1)
    exact, _ = parts.fast(section).make(1)
    half = parts.fast(section, precision="bfloat16")
    batch = half.synthesize(1)
    assert batch.provenance.losses == pytest.approx(dict(exact.provenance.losses), rel=2e-2)
    assert batch.provenance.losses != exact.provenance.losses
    assert {p.dtype for p in half.meta.generator.parameters()} == {torch.float32}
    state = half.objective.statistics.state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}
    longer = parts.fast(parts.fast_section(), precision="bfloat16").synthesize(1)
    assert longer.images.dtype is torch.uint8


def test_a_diverged_batch_says_so() -> None:
    synthesizer = parts.fast(parts.fast_section())
    with torch.no_grad():
        synthesizer.meta.generator.project.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"round 4 diverged.*generator's first images"):
        synthesizer.make(4)


@pytest.mark.gpu
def test_cuda_equals_the_cpu() -> None:
    section = parts.fast_section(steps=1)
    z, labels, _ = draws(section, 1)
    # Without crop or flip the random streams of the two devices do not matter.
    section = section.model_copy(update={"crop_padding": 0, "flip": False})
    results = [
        parts.fast(section, device=device).inner_loop(
            z.to(device), labels.to(device), True, torch.Generator(device).manual_seed(0)
        )
        for device in ("cpu", "cuda")
    ]
    assert results[1].losses == pytest.approx(results[0].losses, rel=5e-3)
    torch.testing.assert_close(results[1].images.cpu(), results[0].images, rtol=1e-3, atol=1e-3)
    gradients = [x.cpu() for x in results[1].summed_gradients]
    assert_lists_close(gradients, results[0].summed_gradients, rtol=5e-2, atol=5e-3)


@pytest.mark.gpu
def test_a_round_stays_on_cuda() -> None:
    synthesizer = parts.fast(parts.fast_section(), device="cuda")
    batch = synthesizer.synthesize(1)
    assert batch.images.device.type == "cuda"
    assert {p.device.type for p in synthesizer.meta.generator.parameters()} == {"cuda"}
