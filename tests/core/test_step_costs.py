"""Costs of a step and an update, measured on a few."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from fastdfkd.core import captured as captured_module
from fastdfkd.core import step_costs
from fastdfkd.core.captured import WARM_UP
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.step_costs import synthesis_costs, update_costs
from fastdfkd.recipe import DeepInversionSynthesis, DistillationSection, FastSynthesis
from tests.core.parts import fast_section, task

from .tape import TapeRecorder


def test_a_step_of_either_method_is_measured_with_and_without_the_student() -> None:
    for section in (
        fast_section(steps=2, rounds=4, warmup_rounds=1, batch_size=4),
        DeepInversionSynthesis(
            method="deep_inversion", steps=2000, rounds=4, warmup_rounds=1, batch_size=4
        ),
    ):
        began = time.perf_counter()
        found = synthesis_costs(section, task())
        spent = time.perf_counter() - began
        assert 0 < found.seconds < spent
        assert 0 < found.warmup_seconds < spent
        assert found.images == 4
        assert found.memory_bytes >= 0


def test_a_batch_that_diverges_is_measured_too() -> None:
    section = fast_section(steps=2, rounds=4, warmup_rounds=1, batch_size=4, bn=1e38, oh=1e38)
    with pytest.raises(DivergedError):
        build_synthesizer(section, task()).synthesize(2)
    assert synthesis_costs(section, task()).seconds > 0


def test_an_update_is_measured_on_a_workers_share() -> None:
    section = DistillationSection(batch_size=8, updates_per_round=4)
    found = update_costs(section, task(), workers=2)
    assert found.images == 4
    assert found.seconds > 0


def test_a_teacher_cache_is_full_when_updates_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = []
    update = step_costs.StudentDistiller.update

    def watched(self: Any, bank: Any) -> torch.Tensor:
        fresh.append(self.cache.wanted)
        return update(self, bank)

    monkeypatch.setattr(step_costs.StudentDistiller, "update", watched)
    update_costs(DistillationSection(batch_size=8, teacher_cache=4), task())
    assert set(fresh) == {2}


def test_a_batch_that_would_take_too_long_is_measured_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that takes a hundredth of a second an image, on a clock of its own."""
    now = 0.0
    monkeypatch.setattr(step_costs.Clock, "now", lambda _: now)

    released = []

    def build(images: int) -> step_costs._Role:
        def call(_: int) -> None:
            nonlocal now
            now += images / 100

        return step_costs._Role([call], lambda: released.append(images))

    part = step_costs._measured(build, 1000, task(), 1, 4.0)
    assert released == [8, 133], "recorded steps of both sizes"
    assert now < 5, "finding that number takes little time"
    assert part.images == 133  # three calls of them take the 4 s
    assert part.seconds == pytest.approx([10.0])
    whole = step_costs._measured(build, 90, task(), 1, 4.0)
    assert (whole.images, whole.seconds) == (90, pytest.approx([0.9]))


def test_threads_are_those_of_the_role_and_restored() -> None:
    before, seen = torch.get_num_threads(), []

    def build(_images: int) -> step_costs._Role:
        call = lambda _: seen.append(torch.get_num_threads())  # noqa: E731
        return step_costs._Role([call], lambda: None)

    step_costs._measured(build, 1, task(), before + 1, 1.0)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_captured_steps_are_timed_once_they_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    calls = []

    def build(_images: int) -> step_costs._Role:
        return step_costs._Role([calls.append], lambda: None)

    capturing = replace(task(), capture=True)
    step_costs._measured(build, 1, capturing, 1, 1.0)
    assert calls[: WARM_UP + 1] == [0] * (WARM_UP + 1)
    assert len(calls) == WARM_UP + 1 + step_costs._TIMES


def test_a_section_is_shortened_to_fewer_steps_and_images() -> None:
    section = FastSynthesis(steps=10, batch_size=256)
    short = section.shortened(steps=5, batch_size=8)
    assert (short.steps, short.batch_size, short.lr_g) == (5, 8, section.lr_g)
    assert section.shortened(steps=50, batch_size=512) == section
    assert section.steps_per_batch == 10
