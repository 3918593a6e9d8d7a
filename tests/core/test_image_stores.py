"""Stores of a buffer: the same draws give the same images, wherever the images are."""

from __future__ import annotations

import pytest
import torch

from fastdfkd.core.image_stores import DeviceImages, HostImages, Part
from fastdfkd.core.sample_buffer import SampleBuffer

SHAPE = (3, 5, 4)


def images(seed: int, count: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=draws)


def drawn(buffer: SampleBuffer, device: str) -> torch.Tensor:
    """Many draws, of two sizes, between insertions that wrap round."""
    found, draws = [], torch.Generator(device).manual_seed(5)
    for seed in range(4):
        buffer.extend(images(seed, 6))
        found += [buffer.draw(7, draws).cpu() for _ in range(5)]
        found += [buffer.draw(3, draws).cpu(), buffer.in_order(seed, 4, 7).cpu()]
    return torch.cat([*found, buffer.first(5).cpu()])


def both(device: str) -> None:
    started = [Part(images(9, 2)), Part(images(8, 3), lasting=True)]
    stores = DeviceImages((5 + 12, *SHAPE), device), HostImages((5 + 12, *SHAPE), device)
    ours, theirs = (drawn(SampleBuffer.of(store, started), device) for store in stores)
    assert torch.equal(ours, theirs)
    assert ours.unique().numel() > 200


def test_host_memory_gives_the_images_of_the_device() -> None:
    both("cpu")


@pytest.mark.gpu
def test_page_locked_memory_gives_the_images_of_the_gpu() -> None:
    both("cuda")


@pytest.mark.gpu
def test_a_batch_is_not_overwritten_by_later_ones() -> None:
    store = HostImages((400, 3, 64, 64), "cuda")
    store.images.copy_(torch.arange(400, dtype=torch.uint8)[:, None, None, None])
    buffer, work = SampleBuffer.of(store), torch.rand(3000, 3000, device="cuda")
    buffer.inserted = 400
    draws, batches, expected = torch.Generator("cuda").manual_seed(0), [], []
    for _ in range(20):
        work = work @ work / 3000  # the GPU falls behind
        batches.append(buffer.draw(256, draws))
    draws.manual_seed(0)
    for batch in batches:
        expected = torch.randint(400, (256,), generator=draws, device="cuda")
        assert torch.equal(batch[:, 0, 0, 0].long(), expected % 256)
