"""Captured synthesis equals that without graphs, with a tape on the CPU and graphs on a GPU."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from fastdfkd.core import captured as captured_module
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.fast import FastSynthesizer

from . import parts
from .replays import assert_same, device, exact_rates
from .tape import FailingRecorder, TapeRecorder

__all__ = ["device", "exact_rates"]


def synthesizers(device: str, precision: Any, **changes: Any) -> list[FastSynthesizer]:
    """One with capture and one without."""
    values = {"warmup_rounds": 3, "steps": 4, "reset_after": 2, **changes}
    section = parts.fast_section(**values)
    return [
        parts.fast(section, device=device, precision=precision, capture=capture)
        for capture in (True, False)
    ]


def same_rounds(pair: list[FastSynthesizer], rounds: range) -> list[Any]:
    """Compare rounds of both, with a new student in each; returns results and copies of them."""
    made: list[Any] = []
    for round in rounds:
        student = parts.network(40 + round, (3, 4)).state_dict()
        found = []
        for synthesizer in pair:
            synthesizer.load_student(student, round)
            synthesizer.meta.begin(round)
            batch, update = synthesizer.make(round)
            synthesizer.learn([update])
            found.append((batch.images, dict(batch.provenance.losses), update.tensors))
        made.append((found, copy.deepcopy(found)))
        assert_same(*found)
        assert_same(*(synthesizer.state_dict() for synthesizer in pair))
        assert_same(*(synthesizer.copies.best.first for synthesizer in pair))
    return made


CHANGES: list[dict[str, Any]] = [
    {},
    {"meta": "reptile"},
    {"meta": "sequential"},
    {"meta": "none"},
    {"bn_momentum": 0.0},
    {"bn": 0.0},
    {"adv": 0.0, "flip": False, "invert": True},
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_captured_synthesis_is_the_same(
    device: str, precision: Any, changes: dict[str, Any]
) -> None:
    """From the first batch (no estimates) through warm-up and a reset; then after a resume."""
    pair = synthesizers(device, precision, **changes)
    made = same_rounds(pair, range(6))
    step: Any = pair[0].step
    estimated = changes.keys().isdisjoint({"bn", "bn_momentum"})
    without_student = changes.get("adv") == 0.0
    assert len(step.recordings) == (3 if estimated else 2) - without_student
    state = copy.deepcopy(pair[1].state_dict())
    for synthesizer in pair:
        synthesizer.load_state_dict(copy.deepcopy(state))
    made += same_rounds(pair, range(6, 8))
    for handed_out, then in made:  # nothing of it has changed since
        assert_same(handed_out, then)


@pytest.mark.usefixtures("exact_rates")
@pytest.mark.parametrize("method", parts.GENERATIVE)
def test_captured_generator_steps_are_the_same(device: str, method: str) -> None:
    """Two steps a round, with warm-up where the method has a loss in it; then after a resume."""
    warmup = 2 if method in ("dafl", "dfq") else 0
    section = parts.generative_section(
        method, rounds=9, warmup_rounds=warmup, generator_steps=2, lr_decay="cosine"
    )
    pair: Any = [
        build_synthesizer(section, parts.task(device=device, capture=capture))
        for capture in (True, False)
    ]
    for round in range(6):
        student = parts.network(40 + round, (3, 4)).state_dict()
        if round == 5:
            state = copy.deepcopy(pair[1].state_dict())
            for synthesizer in pair:
                synthesizer.load_state_dict(copy.deepcopy(state))
        for synthesizer in pair:
            synthesizer.load_student(student, round)
        batches = [synthesizer.synthesize(round) for synthesizer in pair]
        assert_same(batches[0].images, batches[1].images)
        assert_same(*(dict(batch.provenance.losses) for batch in batches))
        assert_same(*(synthesizer.state_dict() for synthesizer in pair))
    assert pair[0].step.recordings


def test_captured_synthesis_starts_anew_from_a_state_without_estimates(device: str) -> None:
    pair = synthesizers(device, "float32")
    same_rounds(pair, range(2))
    for synthesizer in pair:
        synthesizer.load_state_dict({"meta": copy.deepcopy(pair[1].meta.state_dict()), "bn": {}})
    same_rounds(pair, range(2, 5))


def test_captured_synthesis_with_hooks_in_place_of_fused_norms(device: str) -> None:
    pair = []
    for capture in (True, False):
        teacher = parts.teacher()
        teacher.register_forward_hook(lambda *_: None)
        section = parts.fast_section(steps=4)
        pair.append(parts.fast(section, device=device, teacher=teacher, capture=capture))
        assert pair[-1].objective.fused_teacher is pair[-1].objective.teacher
    same_rounds(pair, range(4))


def test_a_captured_batch_that_diverges_says_so(device: str) -> None:
    pair = synthesizers(device, "float32")
    same_rounds(pair, range(3))
    kept = copy.deepcopy(pair[1].state_dict())
    for synthesizer in pair:
        with torch.no_grad():
            synthesizer.meta.generator.project.weight.fill_(float("nan"))
        with pytest.raises(FloatingPointError, match="round 2 diverged"):
            synthesizer.make(2)
        synthesizer.load_state_dict({**synthesizer.state_dict(), "meta": kept["meta"]})
    assert_same(pair[0].state_dict(), kept)
    same_rounds(pair, range(3, 5))


@pytest.mark.usefixtures("exact_rates")
def test_synthesis_that_cannot_be_recorded_is_that_without_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the recordings that failed, such as gradients, is in the images."""
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    makers = [
        lambda capture: synthesizers("cpu", "float32")[not capture],
        *(
            lambda capture, method=method: build_synthesizer(
                parts.generative_section(method, rounds=9, generator_steps=4),
                parts.task(device="cpu", capture=capture),
            )
            for method in ("dafl",)
        ),
    ]
    for make in makers:
        failing, plain = make(True), make(False)
        failing.step.recorder = FailingRecorder(torch.device("cpu"))
        for round in range(2):
            batches = [each.synthesize(round) for each in (failing, plain)]
            assert_same(batches[0].images, batches[1].images)
            assert_same(failing.state_dict(), plain.state_dict())
        (note,) = failing.notes
        assert "runs without cuda_graphs (no memory left)" in note
        assert plain.notes == []


def test_a_released_role_records_anew_and_stays_the_same(device: str) -> None:
    pair = synthesizers(device, "float32")
    same_rounds(pair, range(2))
    pair[0].release()
    assert not pair[0].step.recordings  # type: ignore[attr-defined]
    same_rounds(pair, range(2, 5))
    assert pair[0].step.recordings  # type: ignore[attr-defined]
