"""Latent codes that pass from round to round, and the optimiser that starts anew with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.recipe import FastSynthesis

from . import parts

SECTION = FastSynthesis(
    keep_codes=3, batch_size=6, latent_dim=5, generator_width=4, steps=2, warmup_rounds=0
)


def watched(synthesizer: FastSynthesizer) -> tuple[list[Tensor], list[Tensor]]:
    """The codes that each round begins with, and those that it leaves."""
    began: list[Tensor] = []
    left: list[Tensor] = []
    begin, take = synthesizer.copies.begin, synthesizer.codes.end

    def spied(noise: Tensor, labels: Tensor) -> None:
        began.append(noise.clone())
        begin(noise, labels)

    def ended(round: int, codes: Any) -> None:
        left.append(codes[0].detach().clone())
        take(round, codes)

    synthesizer.copies.begin = spied  # type: ignore[method-assign]
    synthesizer.codes.end = ended  # type: ignore[method-assign]
    return began, left


def test_three_rounds_inherit_and_the_fourth_draws() -> None:
    synthesizer = parts.fast(SECTION)
    began, left = watched(synthesizer)
    fresh = parts.fast(SECTION.model_copy(update={"keep_codes": None}))
    drawn, _ = watched(fresh)
    for round in range(7):
        synthesizer.synthesize(round)
        fresh.synthesize(round)
    for round in range(7):
        if round % 3 == 0:
            assert torch.equal(began[round], drawn[round])
        else:
            assert torch.equal(began[round], left[round - 1])
            assert not torch.equal(began[round], began[round - 1]), "the steps change them"


def test_a_refused_batch_is_made_of_new_codes() -> None:
    synthesizer = parts.fast(SECTION)
    began, left = watched(synthesizer)
    synthesizer.synthesize(0)
    synthesizer.synthesize(1)
    synthesizer.synthesize(1, attempt=1)
    synthesizer.synthesize(2)
    assert not torch.equal(began[2], left[1])
    assert torch.equal(began[3], left[2])


def test_the_meta_optimiser_starts_anew_with_the_codes() -> None:
    synthesizer = parts.fast(SECTION)
    steps = []
    for round in range(7):
        synthesizer.synthesize(round)
        steps.append(int(synthesizer.meta.optimizer.steps[0]))
    assert steps == [1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize("at", [1, 3])
def test_a_restored_synthesizer_makes_the_same_batch(at: int) -> None:
    synthesizer, other = parts.fast(SECTION), parts.fast(SECTION)
    for round in range(at):
        synthesizer.synthesize(round)
    other.load_state_dict(synthesizer.state_dict())
    for round in (at, at + 1):
        assert torch.equal(synthesizer.synthesize(round).images, other.synthesize(round).images)


def test_states_without_kept_codes_have_no_such_entries() -> None:
    state = parts.fast(SECTION.model_copy(update={"keep_codes": None})).state_dict()
    assert sorted(state) == ["bn", "meta"]
    assert "codes_drawn" not in state["meta"]


def test_codes_of_classes_cannot_be_kept() -> None:
    with pytest.raises(ValueError, match="keep_codes goes on with latent codes"):
        FastSynthesis(keep_codes=3, codes="classes", balanced_labels=True)
