"""Steps of synthesizers and distillers with compiled parts; a stand-in compiles them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.step_costs import synthesis_costs, update_costs
from fastdfkd.recipe import DistillationSection

from . import parts
from .fake_compiler import Compiler, compiler, timings
from .test_captured_updates import bank

__all__ = ["compiler", "timings"]


def distillers(wish: Any, **changes: Any) -> Iterator[StudentDistiller]:
    values = {"updates_per_round": 2, "batch_size": 6, "lr": 0.02, **changes}
    for each in (False, wish):
        task = parts.task(compile=each)
        yield StudentDistiller(DistillationSection(**values), task, total_updates=40)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["the augmentation", "the teacher", "the student"]),
        ({"teacher_cache": 2}, ["the augmentation", "the teacher", "the student"]),
        ({"attention": 2.0}, ["the augmentation"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("compiler", "timings")
def test_a_compiled_student_is_the_plain_one(changes: dict[str, Any], names: list[str]) -> None:
    plain, pupil = distillers(True, **changes)
    losses = [[each.update(bank("cpu")) for _ in range(5)] for each in (plain, pupil)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
    assert [note.partition(" runs ")[0] for note in pupil.notes] == names
    assert all(" runs compiled" in note for note in pupil.notes)
    assert plain.notes == []
    ours, theirs = pupil.state_dict(), plain.state_dict()
    assert list(ours["student"]) == list(theirs["student"])
    torch.testing.assert_close(ours["student"], theirs["student"], rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("compiler", "timings")
@pytest.mark.parametrize("changes", [{}, {"latent": "spatial", "sizes": (16, 32)}], ids=str)
def test_compiled_synthesis_is_the_plain_one(changes: dict[str, Any]) -> None:
    """Images of another size than the first run plainly."""
    section, shape = parts.fast_section(**changes), (3, 32, 32) if changes else parts.IMAGE_SHAPE
    plain, ours = (parts.fast(section, compile=wish, image_shape=shape) for wish in (False, True))
    for round in range(4):
        mine, theirs = (each.synthesize(round).provenance.losses for each in (ours, plain))
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    names = ["the teacher", "the generator", "the student"]
    assert sorted(note.partition(" runs ")[0] for note in ours.notes) == sorted(names)
    assert all(" runs compiled" in note for note in ours.notes)
    assert set(ours.state_dict()["bn"]) == set(plain.state_dict()["bn"])


@pytest.mark.usefixtures("compiler", "timings")
def test_a_teacher_that_is_watched_by_hooks_stays_plain() -> None:
    """CMI reads its features, and this teacher's statistics are no layer's input."""
    watched = parts.cmi(parts.cmi_section(), compile=True)
    watched.synthesize(1)
    assert not any(note.startswith("the teacher") for note in watched.notes)
    instance = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, parts.CLASSES))
    other = parts.fast(
        parts.fast_section(), teacher=nn.Sequential(instance, head).eval(), compile=True
    )
    assert other.objective.recorded is None
    other.synthesize(0)


def test_calls_that_are_left_are_shared_among_synthesizers(compiler: Compiler) -> None:
    section = parts.fast_section(rounds=6, steps=3)
    made = parts.fast(section, compile=True, synthesizers=2)
    assert made.objective.calls_left() == 9
    made.synthesize(2)
    assert made.objective.calls_left() == 6


@pytest.mark.usefixtures("timings")
def test_a_distiller_counts_the_updates_that_are_left(compiler: Compiler) -> None:
    _, pupil = distillers("auto")
    pupil.updates = 39
    pupil.update(bank("cpu"))
    assert not compiler.made
    assert pupil.compiling.notes[0].startswith("the augmentation runs uncompiled: in 1 calls")


def test_measured_costs_are_those_of_plain_steps(compiler: Compiler) -> None:
    task = parts.task(compile=True)
    synthesis_costs(parts.fast_section(batch_size=2), task, seconds=0.01)
    update_costs(DistillationSection(batch_size=2), task, seconds=0.01)
    assert not compiler.made
