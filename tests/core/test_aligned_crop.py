"""Images and maps are moved alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastdfkd.core.aligned_crop import AlignedCrop
from fastdfkd.core.augment import Augmentation
from fastdfkd.core.task_kind import Classification, Segmentation

VOID = Segmentation(3).void


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def numbered(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Images whose pixels are numbered from 1, and maps of the same numbers."""
    numbers = torch.arange(1, height * width + 1).reshape(1, height, width)
    maps = numbers.expand(count, -1, -1)
    return maps[:, None].to(torch.uint8), maps


def by_hand(image: Tensor, dy: int, dx: int, flip: bool, size: tuple[int, int]) -> Tensor:
    window = torch.full(size, VOID)
    for y in range(size[0]):
        for x in range(size[1]):
            row, column = y + dy, (size[1] - 1 - x if flip else x) + dx
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                window[y, x] = image[row, column]
    return window


@pytest.mark.parametrize("sides", [(4, 5), (7, 9), (4, 9)])
def test_windows_of_images_and_maps_are_the_same_pixels(sides: tuple[int, int]) -> None:
    images, maps = numbered(40, *sides)
    move = AlignedCrop.draw(40, sides, (4, 5), 2, True, draws())
    windows, targets = move.images(images), Segmentation(3).moved(maps, move)
    assert windows.dtype == torch.uint8
    for number in range(40):
        one = int(move.dy[number]), int(move.dx[number]), bool(move.flip[number])
        expected = by_hand(maps[number], *one, (4, 5))
        assert torch.equal(targets[number], expected)
        assert torch.equal(windows[number, 0].long(), expected * (expected != VOID))


def test_windows_reach_every_place_and_beyond_the_border_only_by_the_padding() -> None:
    move = AlignedCrop.draw(2000, (6, 9), (4, 5), 1, True, draws())
    assert sorted(set(move.dy.tolist())) == [-1, 0, 1, 2, 3]
    assert sorted(set(move.dx.tolist())) == [-1, 0, 1, 2, 3, 4, 5]
    _, maps = numbered(2000, 6, 9)
    unpadded = AlignedCrop.draw(2000, (6, 9), (4, 5), 0, True, draws())
    assert not (unpadded.maps(maps, VOID) == VOID).any()


def test_images_of_the_windows_size_are_moved_as_without_maps() -> None:
    images, _ = numbered(40, 4, 5)
    move = AlignedCrop.draw(40, (4, 5), (4, 5), 2, True, draws())
    assert torch.equal(move.images(images), Augmentation.draw(40, 2, True, False, draws())(images))


def test_one_label_for_an_image_stays() -> None:
    move = AlignedCrop.draw(3, (4, 5), (4, 5), 2, True, draws())
    labels = torch.tensor([2, 0, 1])
    assert Classification(3).moved(labels, move) is labels
