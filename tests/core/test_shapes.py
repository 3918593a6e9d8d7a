"""Images of random shapes: what is drawn, and which images the teacher chooses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.methods.shapes import surest_of_each_class
from fastdfkd.core.shape_images import _distances, draw_shapes
from fastdfkd.recipe.methods import ShapesSynthesis

from . import parts


def drawn(count: int, shape: tuple[int, int, int], most: int = 4, seed: int = 0) -> Tensor:
    return draw_shapes(count, shape, most, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 40), (4, 9, 5)])
def test_images_of_any_size_and_number_of_channels(shape: tuple[int, int, int]) -> None:
    images = drawn(50, shape)
    assert images.shape == (50, *shape)
    assert 0 <= images.min() < 0.1
    assert 0.9 < images.max() <= 1
    assert torch.equal(images, drawn(50, shape))
    assert not torch.equal(images, drawn(50, shape, seed=1))


def test_more_shapes_have_more_edges() -> None:
    edges = [drawn(200, (1, 32, 32), most).diff(dim=3).abs().mean().item() for most in (1, 3, 9)]
    assert edges == sorted(edges)
    assert edges[2] > 2 * edges[0]


def test_signed_distances_along_the_axes() -> None:
    """Of shapes of half length 1 and half width 0.5, line 0.2, cut at 0.1: negative inside."""
    along = torch.tensor([[[0.0, 0.9, 1.1, -0.9, 0.0, 0.0]]])
    across = torch.tensor([[[0.0, 0.0, 0.0, 0.0, 0.45, 0.9]]])
    half, line, cut = (torch.full((1, 1, 1), value) for value in (0.5, 0.2, 0.1))
    bar, ellipse, triangle, ring, arc = _distances(along, across, half, line, cut)
    assert (bar < 0).flatten().tolist() == [True, True, False, True, True, False]
    assert (ellipse < 0).flatten().tolist() == [True, True, False, True, True, False]
    assert (triangle < 0).flatten().tolist() == [True, True, False, True, False, False]
    assert (ring < 0).flatten().tolist() == [False, True, False, True, False, True]
    assert (arc < 0).flatten().tolist() == [False, False, False, True, False, True]
    assert bar.flatten()[0].item() == pytest.approx(-0.5)


def test_each_class_in_turn_gets_its_surest_image() -> None:
    logits = torch.tensor([[5.0, 0], [9, 0], [1, 0], [0, 2], [7, 0], [0, 4]])
    assert surest_of_each_class(logits, 3).tolist() == [1, 5, 4]
    assert surest_of_each_class(logits, 6).tolist() == [1, 5, 4, 3, 0, 2]
    maps = logits[:, :, None, None].expand(6, 2, 3, 3)
    assert surest_of_each_class(maps, 3).tolist() == [1, 5, 4]


def test_candidates_are_surer_and_spread_over_the_classes() -> None:
    found = []
    for candidates in (1, 8):
        section = ShapesSynthesis(method="shapes", batch_size=32, candidates=candidates)
        batch = build_synthesizer(section, parts.task()).synthesize(1)
        assert batch.provenance.figures is not None
        counts = torch.zeros(parts.CLASSES)
        for label, images in batch.provenance.figures.classes.items():
            counts[label] = images / 32
        entropy = torch.special.entr(counts).sum().item() / math.log(parts.CLASSES)
        found.append((batch.provenance.figures.confidence, entropy))
    assert found[1][0] > found[0][0]
    assert found[1][1] > found[0][1]


def test_a_teacher_that_is_not_finite_is_named() -> None:
    teacher = parts.teacher()
    with torch.no_grad():
        next(iter(teacher.parameters())).fill_(math.nan)
    section = ShapesSynthesis(method="shapes", batch_size=4)
    with pytest.raises(DivergedError, match="teacher's logits"):
        build_synthesizer(section, parts.task(teacher=teacher)).synthesize(0)
