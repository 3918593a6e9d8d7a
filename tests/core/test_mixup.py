"""Mixed images, and shapes among the images of an update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.mixup import mixed_images
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import DistillationSection

from . import parts


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_image_is_a_weighted_mean_of_two() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    images = levels.reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    mixed = mixed_images(images, 0.5, randomness())
    flat = mixed.flatten(1)
    assert (flat == flat[:, :1]).all()  # one weight for all pixels of an image
    kept = (mixed == images).flatten(1).all(1).float().mean()
    assert 0.4 < kept < 0.65
    partners = images[torch.randperm(256, generator=randomness())]
    low, high = torch.minimum(images, partners), torch.maximum(images, partners)
    assert ((mixed >= low) & (mixed <= high)).all()


def test_no_share_changes_no_image() -> None:
    images = torch.randint(0, 256, (32, 3, 4, 4), generator=randomness(), dtype=torch.uint8)
    assert torch.equal(mixed_images(images, 0.0, randomness(1)), images)


def distiller(**changes: Any) -> tuple[StudentDistiller, list[Tensor]]:
    """A distiller with batches of 8, and the images that its teacher is asked about."""
    section = DistillationSection(updates_per_round=5, batch_size=8, crop_padding=0, **changes)
    made = StudentDistiller(section, parts.task(), total_updates=5)
    asked: list[Tensor] = []
    ask = made.ask

    def watched(images: Tensor, *rest: Tensor) -> Any:
        asked.append(images.clone())
        return ask(images, *rest)

    made.ask = watched
    return made, asked


def bank() -> SampleBuffer:
    """Images of one level: 7."""
    buffer = SampleBuffer(8, parts.IMAGE_SHAPE)
    buffer.extend(torch.full((8, *parts.IMAGE_SHAPE), 7, dtype=torch.uint8))
    return buffer


def test_a_share_of_the_images_are_shapes_drawn_anew() -> None:
    made, asked = distiller(random_shapes=0.4, flip=False)
    for _ in range(2):
        made.update(bank())
    first, second = asked
    for images in asked:
        assert images.dtype is torch.uint8
        assert (images[:5] == 7).all()  # int(0.4 * 8) of 8 are shapes
        assert all(image.unique().numel() > 1 for image in images[5:])
    assert not torch.equal(first[5:], second[5:])


def test_mixup_reaches_shapes_too_and_a_repeated_update_draws_the_same() -> None:
    images = []
    for _ in range(2):
        made, asked = distiller(random_shapes=0.5, mixup=0.9)
        made.update(bank())
        images += asked
    assert torch.equal(*images)
    plain, asked = distiller(random_shapes=0.5)
    plain.update(bank())
    assert not torch.equal(images[0], asked[0])
