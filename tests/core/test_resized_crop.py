"""Parts of images: which, how large, and their pixels."""

from __future__ import annotations

import torch

from fastdfkd.core.resized_crop import ResizedCrop

from . import naive_cmi


def drawn(count: int, smallest: float, *, flip: bool = False) -> torch.Tensor:
    return ResizedCrop.draw(count, smallest, flip, torch.Generator().manual_seed(3)).theta


def test_a_part_is_inside_and_as_large_as_asked() -> None:
    theta = drawn(20_000, 0.25)
    width, height = theta[:, 0, 0], theta[:, 1, 1]
    left, top = theta[:, 0, 2], theta[:, 1, 2]
    assert (left.abs() <= 1 - width + 1e-6).all()
    assert (top.abs() <= 1 - height + 1e-6).all()
    area = width * height
    assert 0.25 - 1e-5 <= area.min() < 0.27
    assert area.max() <= 1
    whole = (width < 1) & (height < 1)  # sides that were not cut
    ratio = (width / height)[whole]
    assert 0.75 - 1e-5 <= ratio.min() < 0.76
    assert 1.32 < ratio.max() <= 4 / 3 + 1e-5


def test_half_of_the_parts_are_mirrored_if_wanted() -> None:
    assert (drawn(2000, 0.5)[:, 0, 0] > 0).all()
    mirrored = (drawn(2000, 0.5, flip=True)[:, 0, 0] < 0).float().mean()
    assert 0.45 < mirrored < 0.55


def test_the_whole_image_is_itself() -> None:
    images = torch.rand(3, 2, 8, 6)
    theta = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(3, 2, 3)
    torch.testing.assert_close(ResizedCrop(theta)(images), images)


def test_pixels_are_those_of_bilinear_sampling() -> None:
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    theta = drawn(4, 0.25, flip=True)
    expected = torch.stack([naive_cmi.view(x, t) for x, t in zip(images, theta, strict=True)])
    torch.testing.assert_close(ResizedCrop(theta)(images), expected)
