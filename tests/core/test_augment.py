from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastdfkd.core.augment import Augmentation, Normalisation

from . import naive

settings.load_profile("core")

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))
ANY = given(
    shape=SHAPES,
    padding=st.integers(0, 9),
    flip=st.booleans(),
    invert=st.booleans(),
    seed=st.integers(0, 9999),
)


def randomness(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_of(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    if dtype is torch.uint8:
        return torch.randint(0, 256, shape, generator=randomness(seed), dtype=dtype)
    return torch.randn(shape, generator=randomness(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8])
@ANY
def test_crop_and_flip_image_by_image(
    dtype: torch.dtype, shape: tuple[int, ...], padding: int, flip: bool, invert: bool, seed: int
) -> None:
    move = Augmentation.draw(shape[0], padding, flip, invert, randomness(seed))
    images = images_of(shape, seed, dtype)
    expected = naive.augment(images, move, padding)
    for moved in (move(images), move.apply(images)):
        assert moved.dtype is dtype
        assert torch.equal(moved, expected)


def test_one_move_by_hand() -> None:
    """Shift one down and one left, then flip: rows move up, columns right, and mirror."""
    image = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    move = Augmentation(torch.tensor([1]), torch.tensor([-1]), torch.tensor([False]))
    assert move(image).tolist() == [[[[0, 4, 5], [0, 7, 8], [0, 0, 0]]]]
    move = Augmentation(torch.tensor([1]), torch.tensor([-1]), torch.tensor([True]))
    assert move(image).tolist() == [[[[5, 4, 0], [8, 7, 0], [0, 0, 0]]]]
    move = move._replace(invert=torch.tensor([True]))
    assert move(image / 10)[0, 0, 0].tolist() == pytest.approx([0.5, 0.6, 1.0])
    assert move(image.byte())[0, 0, 0].tolist() == [250, 251, 255]


def test_channels_last_images_move_alike() -> None:
    images = images_of((4, 3, 6, 5), 0)
    move = Augmentation.draw(4, 2, True, True, randomness(0))
    assert torch.equal(move(images.contiguous(memory_format=torch.channels_last)), move(images))


def test_no_padding_and_no_flip_change_nothing() -> None:
    images = images_of((5, 2, 4, 4), 0)
    assert torch.equal(Augmentation.draw(5, 0, False, False, randomness(3))(images), images)


@ANY
def test_the_gradient_is_the_transpose(
    shape: tuple[int, ...], padding: int, flip: bool, invert: bool, seed: int
) -> None:
    """<A x - A 0, y> = <x, A' y>, and autograd through the naive one gives the same A' y."""
    move = Augmentation.draw(shape[0], padding, flip, invert, randomness(seed))
    x, y = images_of(shape, seed).requires_grad_(), images_of(shape, seed + 1)
    gradient = torch.autograd.grad(move(x), x, y)[0]
    linear = move(x) - move(torch.zeros_like(x))
    assert (linear * y).sum().item() == pytest.approx((x * gradient).sum().item(), abs=1e-9)
    assert torch.equal(gradient, torch.autograd.grad(naive.augment(x, move, padding), x, y)[0])


def test_gradcheck() -> None:
    move = Augmentation.draw(3, 2, True, True, randomness(1))
    assert torch.autograd.gradcheck(move, (images_of((3, 2, 4, 3), 0).requires_grad_(),))


def test_moves_cover_their_range_evenly() -> None:
    count, padding = 7000, 3
    move = Augmentation.draw(count, padding, True, True, randomness(0))
    for shift in (move.dy, move.dx):
        found = torch.bincount(shift + padding, minlength=7)
        assert len(found) == 7
        # 1000 each; five standard deviations of the binomial are 146.
        assert (found - 1000).abs().max() < 146
    assert move.invert is not None
    for coin in (move.flip, move.invert):
        assert abs(int(coin.sum()) - count // 2) < 5 * 42
    drawn = torch.stack([move.dy, move.dx, move.flip.long(), move.invert.long()]).double()
    assert torch.corrcoef(drawn).triu(1).abs().max() < 0.06
    neither = Augmentation.draw(count, padding, False, False, randomness(0))
    assert not neither.flip.any()
    assert neither.invert is None


def test_draws_are_the_generators() -> None:
    first, again, other = (Augmentation.draw(50, 4, True, True, randomness(s)) for s in (1, 1, 2))
    for name in ("dy", "dx", "flip", "invert"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


MEAN, STD = [0.2, 0.5, 0.75], [0.1, 0.25, 2.0]


def test_normalisation_by_hand() -> None:
    normalise = Normalisation(MEAN, STD, "cpu")
    images = torch.tensor([0.3, 1.0, 0.75]).reshape(1, 3, 1, 1)
    assert normalise(images).flatten().tolist() == pytest.approx([1.0, 2.0, 0.0], abs=1e-6)


def test_normalisation_and_back() -> None:
    normalise = Normalisation(MEAN, STD, "cpu")
    images = torch.rand(4, 3, 5, 2, generator=randomness(0))
    torch.testing.assert_close(normalise.inverse(normalise(images)), images)


def test_normalisation_of_every_uint8_value() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, -1, -1)
    ours = Normalisation(MEAN, STD, "cpu").from_uint8(values)
    for channel in range(3):
        exact = (values[0, 0].double() / 255 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(ours[0, channel].double(), exact, rtol=1e-6, atol=2e-6)


@pytest.mark.gpu
def test_cuda_moves_like_the_cpu() -> None:
    drawn = Augmentation.draw(9, 3, True, True, torch.Generator("cuda").manual_seed(0))
    here = Augmentation(*(field.cpu() for field in drawn if field is not None))
    for dtype in (torch.uint8, torch.float32):
        images = images_of((9, 3, 8, 8), 0, dtype)
        assert torch.equal(drawn(images.to("cuda")).cpu(), here(images))
