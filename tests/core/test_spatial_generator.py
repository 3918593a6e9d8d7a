"""The generator with spatial latent codes: its shapes, and a batch made with it."""

from __future__ import annotations

import pytest
import torch

from fastdfkd.core.spatial_generator import SpatialGenerator
from fastdfkd.recipe import FastSynthesis

from . import parts


def section(**changes: object) -> FastSynthesis:
    values = {"latent": "spatial", "reset_after": None, "batch_size": 6, "latent_dim": 5}
    return FastSynthesis(**{**values, "generator_width": 4, "steps": 2, **changes})  # type: ignore[arg-type]


def test_it_has_the_papers_layers_at_224_pixels() -> None:
    generator = SpatialGenerator(256, 64, (3, 224, 224))
    assert generator.noise_shape(100) == (100, 256, 14, 14)
    shapes = [tuple(p.shape) for p in generator.parameters() if p.ndim == 4]
    assert shapes == [
        (128, 256, 3, 3),
        (128, 128, 3, 3),
        (64, 128, 3, 3),
        (64, 64, 3, 3),
        (64, 64, 3, 3),
        (3, 64, 3, 3),
    ]
    large = SpatialGenerator(256, 64, (3, 512, 512))
    assert sum(p.numel() for p in large.parameters()) == sum(
        p.numel() for p in generator.parameters()
    )


@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 20, 35)])
def test_images_have_the_wanted_size_and_range(shape: tuple[int, int, int]) -> None:
    generator = SpatialGenerator(5, 4, shape)
    images = generator(torch.randn(generator.noise_shape(3)))
    assert images.shape == (3, *shape)
    assert 0 <= images.min() < images.max() <= 1


def test_batches_are_made_with_it_and_differ() -> None:
    synthesizer = parts.fast(section(), image_shape=(3, 32, 32))
    first, second = (synthesizer.synthesize(round) for round in (0, 1))
    assert first.images.shape == (6, 3, 32, 32)
    assert not torch.equal(first.images, second.images)
    assert synthesizer.shared.version == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"reset_after": 3},
        {"channel_exchange": 0.5},
        {"codes": "classes", "balanced_labels": True},
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="latent: spatial has no"):
        section(**changes)
