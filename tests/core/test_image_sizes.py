"""Batches that are made at other sizes than the teacher's images, in turn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.task_kind import Segmentation
from fastdfkd.recipe import FastSynthesis

from . import parts

SHAPE = (3, 32, 32)


def section(**changes: Any) -> FastSynthesis:
    values = {
        "latent": "spatial",
        "reset_after": None,
        "batch_size": 6,
        "latent_dim": 5,
        "generator_width": 4,
        "steps": 3,
        "warmup_rounds": 1,
        "sizes": (16, 32, 48),
    }
    return FastSynthesis(**{**values, **changes})


def test_networks_see_the_sizes_in_turn_and_the_bank_gets_the_teachers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synthesizer = parts.fast(section(), image_shape=SHAPE)
    seen: list[tuple[int, ...]] = []
    call = type(synthesizer.objective).__call__

    def spied(self: Any, inputs: Tensor, *rest: Any) -> Tensor:
        seen.append(tuple(inputs.shape[1:]))
        return call(self, inputs, *rest)

    monkeypatch.setattr(type(synthesizer.objective), "__call__", spied)
    batches = [synthesizer.synthesize(round) for round in range(4)]
    assert [batch.images.shape for batch in batches] == [(6, *SHAPE)] * 4
    assert seen == [(3, side, side) for side in (16, 32, 48, 16) for _ in range(3)]
    assert all(batch.images.float().std() > 0 for batch in batches)
    assert synthesizer.shared.version == 4, "one generator learns from all sizes"


def test_the_teachers_own_size_alone_changes_nothing() -> None:
    plain, sized = (parts.fast(section(sizes=sizes), image_shape=SHAPE) for sizes in (None, (32,)))
    for round in range(3):
        ours, theirs = sized.synthesize(round).images, plain.synthesize(round).images
        assert torch.equal(ours, theirs)


def test_codes_are_kept_for_each_size() -> None:
    settings = section(sizes=(16, 32), keep_codes=4)
    synthesizer, other = (parts.fast(settings, image_shape=SHAPE) for _ in range(2))
    for round in range(3):
        synthesizer.synthesize(round)
    assert [tuple(z.shape[2:]) for z in synthesizer.codes.codes] == [(2, 2), (1, 1)]
    other.load_state_dict(synthesizer.state_dict())
    for round in (3, 4):
        assert torch.equal(synthesizer.synthesize(round).images, other.synthesize(round).images)
    assert len(synthesizer.codes.codes) == 1, "the next block began"


def test_a_size_that_a_network_cannot_read_is_named() -> None:
    class OneSize(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2] < 32:
                raise RuntimeError("too small")
            logits: Tensor = self.network(x)
            return logits

    with pytest.raises(ValueError, match=r"cannot read images of 16 x 16 pixels \(too small\)"):
        parts.fast(section(), image_shape=SHAPE, teacher=OneSize(parts.teacher()).eval())


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes needs latent: spatial"):
        section(latent="vector")
    with pytest.raises(ValueError, match="multiples of 16"):
        section(sizes=(20,))
    with pytest.raises(ValueError, match="one class for each image"):
        parts.fast(section(), image_shape=SHAPE, kind=Segmentation(parts.CLASSES))
