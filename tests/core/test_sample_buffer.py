from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastdfkd.core.batch import Provenance, SyntheticBatch
from fastdfkd.core.sample_buffer import SampleBuffer

settings.load_profile("core")


def numbered(start: int, count: int) -> Tensor:
    """Images (count, 1, 1, 2) uint8 whose pixels encode their number."""
    numbers = torch.arange(start, start + count)
    return torch.stack([numbers % 256, numbers // 256], 1).to(torch.uint8).reshape(count, 1, 1, 2)


def number(images: Tensor) -> list[int]:
    pairs = images.reshape(-1, 2).long()
    return (pairs[:, 0] + 256 * pairs[:, 1]).tolist()


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(capacity=st.integers(1, 12), sizes=st.lists(st.integers(0, 12), max_size=15))
def test_the_ring_is_the_tail_of_a_list(capacity: int, sizes: list[int]) -> None:
    buffer, everything = SampleBuffer(capacity, (1, 1, 2)), list[int]()
    for size in sizes:
        images = numbered(len(everything), size)
        if size > capacity:
            with pytest.raises(ValueError, match=f"{size} images exceeds the capacity {capacity}"):
                buffer.extend(images)
            continue
        buffer.extend(images)
        everything += range(len(everything), len(everything) + size)
        held = everything[-capacity:]
        assert len(buffer) == len(held)
        assert buffer.inserted == len(everything)
        assert sorted(number(buffer.images[: len(buffer)])) == held
        for n in held:
            assert number(buffer.images[n % capacity]) == [n]
        if held:
            assert set(number(buffer.draw(30, randomness()))) <= set(held)


def test_a_batch_is_inserted_with_its_images_copied() -> None:
    buffer, images = SampleBuffer(4, (1, 1, 2)), numbered(7, 3)
    labels = torch.zeros(3, dtype=torch.int64)
    batch = SyntheticBatch(images=images, labels=labels, provenance=Provenance(round=0))
    buffer.insert(batch)
    images.zero_()
    assert number(buffer.images[:3]) == [7, 8, 9]


def test_draws_are_uniform_over_all_images_with_replacement() -> None:
    buffer = SampleBuffer(20, (1, 1, 2))
    buffer.extend(numbered(0, 10))
    counts = torch.bincount(torch.tensor(number(buffer.draw(10_000, randomness()))), minlength=10)
    assert len(counts) == 10
    # 1000 each; five standard deviations of the binomial are 150.
    assert (counts - 1000).abs().max() < 150


def test_draws_follow_from_the_generator() -> None:
    buffer = SampleBuffer(50, (1, 1, 2))
    buffer.extend(numbered(0, 50))
    first, again, other = (number(buffer.draw(20, randomness(seed))) for seed in (1, 1, 2))
    assert first == again != other
    generator = randomness(1)
    assert number(buffer.draw(20, generator)) == first
    assert number(buffer.draw(20, generator)) != first


def test_a_drawn_batch_is_a_copy() -> None:
    buffer = SampleBuffer(3, (1, 1, 2))
    buffer.extend(numbered(0, 3))
    buffer.draw(5, randomness()).zero_()
    assert number(buffer.images) == [0, 1, 2]


def test_images_from_the_beginning_stay() -> None:
    buffer = SampleBuffer(3, (1, 1, 2), started=[numbered(90, 2), numbered(92, 1)])
    assert len(buffer) == 3
    assert set(number(buffer.draw(200, randomness()))) == {90, 91, 92}
    for start in (0, 2, 4, 6):
        buffer.extend(numbered(start, 2))
    assert len(buffer) == 6
    assert number(buffer.images[:3]) == [90, 91, 92]
    assert set(number(buffer.draw(400, randomness()))) == {90, 91, 92, 5, 6, 7}


def test_drawing_from_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        SampleBuffer(3, (1, 1, 2)).draw(1, randomness())


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 2, 1, dtype=torch.uint8), torch.zeros(2).byte()],
    ids=["float", "shape", "rank"],
)
def test_other_images_are_refused(images: Tensor) -> None:
    buffer = SampleBuffer(3, (1, 1, 2))
    with pytest.raises(ValueError, match=r"expected images \(B, 1, 1, 2\) uint8, got"):
        buffer.extend(images)
    assert len(buffer) == 0


@pytest.mark.gpu
def test_a_buffer_on_cuda_draws_there() -> None:
    buffer = SampleBuffer(5, (1, 1, 2), "cuda")
    buffer.extend(numbered(0, 4))
    buffer.extend(numbered(4, 3))
    images = buffer.draw(64, torch.Generator("cuda").manual_seed(0))
    assert images.device.type == "cuda"
    assert set(number(images.cpu())) == {2, 3, 4, 5, 6}


@given(rounds=st.integers(1, 5), held=st.integers(1, 3), size=st.integers(1, 4), data=st.data())
def test_in_order_gives_the_next_images_of_a_round(
    rounds: int, held: int, size: int, data: st.DataObject
) -> None:
    buffer = SampleBuffer(held * size, (1, 1, 2))
    for round in range(rounds):
        buffer.extend(numbered(round * size, size))
    wanted = data.draw(st.integers(0, rounds - 1))
    start, count = data.draw(st.integers(0, 9)), data.draw(st.integers(1, 9))
    first = max(wanted, rounds - held) * size
    expected = [first + (start + n) % size for n in range(count)]
    assert number(buffer.in_order(wanted, start, count)) == expected


def test_nothing_is_taken_from_an_empty_buffer() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        SampleBuffer(3, (1, 1, 2)).in_order(0, 0, 1)
