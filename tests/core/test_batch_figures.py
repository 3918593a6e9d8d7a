from __future__ import annotations

import math

import pytest
import torch

from fastdfkd.core.batch_figures import BatchFigures, batch_figures, distinct_share
from fastdfkd.core.methods import build_synthesizer

from . import parts


def noise(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)


def test_confidence_and_classes_follow_from_the_logits() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 3.0]])
    figures = batch_figures(logits, noise(3))
    shares = [math.exp(high) / (math.exp(high) + 2) for high in (2, 3, 3)]
    assert figures.confidence == pytest.approx(sum(shares) / 3, rel=1e-6)
    assert figures.classes == {0: 1, 2: 2}


def test_each_pixel_counts_in_segmentation() -> None:
    logits = torch.zeros(2, 4, 8, 8)
    logits[:, 3] = 1.0
    logits[1, 2, :4] = 2.0
    assert batch_figures(logits, noise(2)).classes == {2: 32, 3: 96}


@pytest.mark.parametrize("count", [1, 2, 64, 200])
def test_noise_is_distinct(count: int) -> None:
    assert distinct_share(noise(count)).item() == 1


def test_copies_are_not_distinct() -> None:
    assert distinct_share(noise(1).repeat(20, 1, 1, 1)).item() == 0
    few = noise(3).repeat_interleave(7, 0)
    assert distinct_share(few).item() == pytest.approx(2 / 20)


def test_slight_differences_do_not_make_images_distinct() -> None:
    base = noise(1).float()
    slight = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 8
    images = (base + slight).clamp(0, 255).to(torch.uint8)
    assert distinct_share(images).item() == 0


def test_the_measure_does_not_depend_on_contrast() -> None:
    """Pale but different images are distinct; their pixels differ by two levels."""
    pale = (noise(30) > 127).to(torch.uint8) * 2 + 100
    assert distinct_share(pale).item() == 1


def test_flat_images() -> None:
    assert distinct_share(torch.full((8, 1, 4, 4), 7, dtype=torch.uint8)).item() == 0
    greys = torch.arange(0, 256, 32, dtype=torch.uint8).reshape(8, 1, 1, 1).expand(8, 1, 4, 4)
    assert distinct_share(greys).item() == 1


@pytest.mark.parametrize("section", [parts.fast_section(), parts.deep_section()], ids=str)
def test_a_batch_carries_the_figures_of_the_step_that_was_kept(section: object) -> None:
    """Without augmentation the teacher's logits for the finished images are nearly the same."""
    plain = {"crop_padding": 0, "flip": False}
    plain |= {"jitter": 0.0} if hasattr(section, "jitter") else {}
    section = section.model_copy(update=plain)
    batch = build_synthesizer(section, parts.task()).synthesize(2)
    figures = batch.provenance.figures
    assert isinstance(figures, BatchFigures)
    logits = parts.teacher()(parts.normalisation().from_uint8(batch.images))
    expected = batch_figures(logits, batch.images)
    assert figures.confidence == pytest.approx(expected.confidence, abs=0.02)
    assert figures.classes == expected.classes
    assert figures.distinct == expected.distinct
