"""CMI against the naive float64 loop, its memory over many laps, and what it keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core import captured as captured_module
from fastdfkd.core.augment import Augmentation
from fastdfkd.core.methods.cmi import CMISynthesizer, initialise
from fastdfkd.core.methods.contrast import FeatureMemory
from fastdfkd.core.random_streams import stream
from fastdfkd.core.resized_crop import ResizedCrop
from fastdfkd.recipe import CMISynthesis

from . import naive, naive_cmi, parts
from .tape import TapeRecorder

TIGHT = {"rtol": 1e-7, "atol": 1e-9}


class Naive:
    """Batches of the naive loop, with the memory as a list of rows."""

    def __init__(self, ours: CMISynthesizer, section: CMISynthesis) -> None:
        assert ours.contrast is not None
        self.section, self.generator = section, copy.deepcopy(ours.generator)
        self.rows: list[Tensor] = []
        assert section.bn != "auto"
        objective = naive.Objective(
            parts.teacher(), parts.student(), section.bn, section.oh, section.adv
        )
        self.cmi = naive_cmi.CMI(
            objective,
            ours.contrast.head,
            cr=section.cr,
            temperature=section.cr_temperature,
            lr=section.lr,
            padding=section.crop_padding,
            mean=parts.column(parts.MEAN),
            std=parts.column(parts.STD),
        )

    def batch(self, round: int) -> list[naive_cmi.CMIStep]:
        section, count = self.section, self.section.batch_size
        randomness = stream(parts.SEED, "synthesis", round)
        z = torch.randn(count, section.latent_dim, generator=randomness)
        labels = torch.randint(parts.CLASSES, (count,), generator=randomness)
        initialise(self.generator, randomness)
        draws = []
        for _ in range(section.steps):
            move = Augmentation.draw(count, section.crop_padding, section.flip, False, randomness)
            crop = ResizedCrop.draw(count, section.local_scale, section.flip, randomness)
            slots = torch.randperm(len(self.rows), generator=randomness)[: section.memory_draws]
            held = torch.stack(self.rows) if self.rows else torch.zeros(0, 22)
            draws.append((move, crop.theta, held[slots]))
        steps = self.cmi.batch(self.generator, z, labels, draws, round >= section.warmup_rounds)
        best = min(steps, key=lambda step: step.terms["loss"])
        self.keep(round, best.rows.half().to(best.rows.dtype))
        return steps

    def keep(self, round: int, rows: Tensor) -> None:
        """Image n of the run replaces the image `memory` before it."""
        for n, row in enumerate(rows, round * len(rows)):
            if n < self.section.memory:
                self.rows.append(row)
            else:
                self.rows[n % self.section.memory] = row


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("changes", [{}, {"cr_temperature": 0.1, "oh": 0.5, "cr": 2.0}], ids=str)
def test_rounds_equal_the_formulation(changes: dict[str, Any]) -> None:
    """Four rounds of five images, with a memory of twelve: it wraps round."""
    section = parts.cmi_section(**changes)
    ours = parts.cmi(section)
    reference = Naive(ours, section)
    for round in range(4):
        batch = ours.synthesize(round)
        steps = reference.batch(round)
        best = min(steps, key=lambda step: step.terms["loss"])
        assert batch.provenance.losses == pytest.approx(best.terms, rel=1e-7, abs=1e-12)
        assert (batch.provenance.losses["adv"] < 0) == (round > 0)
        assert torch.equal(batch.images, naive.to_uint8(best.images))
        assert ours.contrast is not None
        memory = ours.contrast.memory
        assert len(memory) == min(12, 5 * (round + 1))
        held = torch.stack(reference.rows)
        torch.testing.assert_close(memory.rows[: len(memory)].double(), held, rtol=1e-3, atol=1e-6)
        kept = ours.contrast.state_dict()["head"][:4]
        for mine, other in zip(kept, reference.cmi.head.parameters(), strict=True):
            torch.testing.assert_close(mine, other.detach(), **TIGHT)


@pytest.mark.usefixtures("float64")
def test_the_gradients_of_a_step_equal_the_formulation() -> None:
    section = parts.cmi_section(steps=1)
    ours = parts.cmi(section)
    reference = Naive(ours, section)
    ours.synthesize(0)
    reference.batch(0)
    assert ours.contrast is not None
    seen: list[Tensor] = []
    ours.contrast.optimizer.step = lambda: seen.extend(  # type: ignore[method-assign]
        p.grad.clone() for p in ours.contrast.head.parameters()
    )
    ours.make(1)
    (step,) = reference.batch(1)
    for mine, other in zip([*ours.copies.summed, *seen], step.gradients, strict=True):
        torch.testing.assert_close(mine, other, **TIGHT)


def test_the_memory_over_many_laps() -> None:
    """Rounds of 5 rows in a ring of 12: no slot is lost, none is held twice."""
    memory, numbers = FeatureMemory(12, 2), torch.arange(1000.0)
    for round in range(100):
        rows = numbers[5 * round : 5 * round + 5]
        memory.extend(torch.stack([rows, -rows], 1))
        newest = numbers[: 5 * round + 5][-12:]
        held = memory.rows[: len(memory)]
        assert sorted(held[:, 0].tolist()) == newest.tolist()
        assert torch.equal(held[:, 0], -held[:, 1])
        slots = memory.draw(7, torch.Generator().manual_seed(round))
        assert len(slots.unique()) == min(7, len(memory))


def test_more_rows_than_the_memory_holds() -> None:
    memory = FeatureMemory(3, 1)
    memory.extend(torch.arange(8.0)[:, None])
    assert sorted(memory.rows[:, 0].tolist()) == [5, 6, 7]
    memory.extend(torch.tensor([[8.0], [1e9], [(-1e9)]]))
    assert sorted(memory.rows[:, 0].tolist()) == [-65504, 8, 65504]


def test_losses_stay_finite_and_images_are_optimised_long_after_the_memory_is_full() -> None:
    section = parts.cmi_section(rounds=60, steps=3)
    ours = parts.cmi(section)
    first = ours.synthesize(0)
    for round in range(1, 60):
        batch = ours.synthesize(round)
        assert all(torch.isfinite(torch.tensor(list(batch.provenance.losses.values()))))
        assert batch.provenance.losses["cr"] > 0
    assert ours.contrast is not None
    assert len(ours.contrast.memory) == 12
    assert not torch.equal(batch.images, first.images)


def test_without_the_term_there_is_no_head_and_no_memory() -> None:
    ours = parts.cmi(parts.cmi_section(cr=0.0))
    batch = ours.synthesize(1)
    assert ours.contrast is None
    assert ours.state_dict() == {}
    assert list(batch.provenance.losses) == ["loss", "bn", "oh", "adv"]
    assert torch.equal(batch.images, parts.cmi(parts.cmi_section(cr=0.0)).make(1)[0].images)


def test_the_generator_is_new_for_every_batch() -> None:
    ours = parts.cmi(parts.cmi_section())
    seen = []
    for round in range(2):
        ours.make(round)
        seen.append([p.detach().clone() for p in ours.generator.parameters()])
    assert not torch.equal(seen[0][0], seen[1][0])
    weights = dict(ours.generator.named_parameters())
    assert weights["project.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    assert weights["norm.weight"].mean().item() == pytest.approx(1, abs=0.03)
    assert not weights["project.bias"].any()


def test_making_a_batch_again_changes_nothing() -> None:
    """A refused batch leaves head and memory as they were."""
    ours, undisturbed = parts.cmi(parts.cmi_section()), parts.cmi(parts.cmi_section())
    for synthesizer in (ours, undisturbed):
        synthesizer.synthesize(0)
    ours.make(1, attempt=1)
    ours.make(4)
    assert torch.equal(ours.synthesize(1).images, undisturbed.synthesize(1).images)


def test_bfloat16_starts_where_float32_does() -> None:
    section = parts.cmi_section(steps=1)
    losses = []
    for precision in ("float32", "bfloat16"):
        ours = parts.cmi(section, precision=precision)
        ours.synthesize(0)
        losses.append(dict(ours.synthesize(1).provenance.losses))
    assert losses[1] == pytest.approx(losses[0], rel=5e-2, abs=1e-3)
    assert losses[1] != losses[0]


def test_fused_norms_and_hooks_give_the_same_batch() -> None:
    from fastdfkd.core.network_use import NetworkUse

    section = parts.cmi_section()
    hooked = NetworkUse(left_out={"fused_norms": "this test"})
    results = []
    for use in (NetworkUse(), hooked):
        ours = parts.cmi(section, teacher_use=use)
        ours.synthesize(0)
        results.append(ours.synthesize(1).provenance.losses)
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_state_has_the_filled_rows_alone() -> None:
    ours = parts.cmi(parts.cmi_section())
    ours.synthesize(0)
    rows = ours.state_dict()["memory"]["rows"]
    assert rows.shape == (5, 22)
    assert rows.dtype is torch.float16


def test_a_captured_step_replays_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    captured = parts.cmi(parts.cmi_section(steps=8), capture=True)
    plain = parts.cmi(parts.cmi_section(steps=8))
    for round in range(4):
        batches = captured.synthesize(round), plain.synthesize(round)
        assert torch.equal(batches[0].images, batches[1].images)
        assert batches[0].provenance.losses == batches[1].provenance.losses


@pytest.mark.gpu
def test_a_batch_on_cuda() -> None:
    ours = parts.cmi(parts.cmi_section(), device="cuda")
    ours.synthesize(0)
    batch = ours.synthesize(1)
    assert batch.images.device.type == "cuda"
    assert batch.provenance.losses["cr"] > 0
