"""The small transformer: positions matter, sizes do not, and nothing is a running statistic."""

from __future__ import annotations

import math

import pytest
import torch

from fastdfkd.core.network_trial import find_network_use
from fastdfkd.models import build_network
from fastdfkd.models.vision_transformer import VisionTransformer, position_code

NAMES = pytest.mark.parametrize("name", ["vit-tiny", "vit-hybrid", "vit-hybrid-half"])


@NAMES
@pytest.mark.parametrize("side", [(8, 8), (16, 16), (50, 30)])
def test_it_takes_images_of_any_size(name: str, side: tuple[int, int]) -> None:
    assert build_network(name, 7, 1)(torch.randn(2, 1, *side)).shape == (2, 7)


def test_positions_in_plain_python() -> None:
    code = position_code(torch.zeros(2, 8, 3, 5))
    assert code.shape == (1, 8, 3, 5)
    for y in range(3):
        for x in range(5):
            expected = [
                wave(place * 10_000 ** (-rate / 2))
                for place in (y, x)
                for wave in (math.sin, math.cos)
                for rate in range(2)
            ]
            assert code[0, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


@NAMES
def test_moved_patches_give_other_logits(name: str) -> None:
    network, x = build_network(name, 5).eval(), torch.randn(1, 3, 16, 16)
    assert not torch.allclose(network(x), network(x.roll(4, 3)), atol=1e-5)


@NAMES
def test_it_runs_in_every_way_that_is_tried(name: str) -> None:
    use = find_network_use(build_network(name, 5).eval(), (3, 16, 16), precision="bfloat16")
    assert not use.left_out


def test_a_width_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="a width that 4 and the number of heads divide"):
        VisionTransformer(1, 10, 2, 5)
