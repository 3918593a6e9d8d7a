"""Images that are decoded from feature maps of two images."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.channel_exchange import ChannelExchange
from fastdfkd.core.generators import Generator
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.random_streams import stream

from . import parts

SECTIONS = {
    "fast": parts.fast_section(),
    "nayer": parts.nayer_section(),
    "cmi": parts.cmi_section(batch_size=8),
}


def plain_exchange(generator: Generator, z: Tensor, exchange: ChannelExchange) -> Tensor:
    """Layer by layer; at the drawn level image by image and channel by channel."""
    x = generator.norm(generator.project(z).reshape(-1, *generator.start))
    points = {generator.blocks[0]: 1, generator.blocks[3]: 2}
    x = mixed(x, exchange) if exchange.level == 0 else x
    for layer in generator.blocks:
        x = layer(x)
        if points.get(layer) == exchange.level:
            x = mixed(x, exchange)
    return x


def mixed(maps: Tensor, exchange: ChannelExchange) -> Tensor:
    result = maps.clone()
    for i in range(len(maps)):
        for channel in range(maps.shape[1]):
            if exchange.taken[i, channel]:
                result[i, channel] = maps[(i + exchange.shift) % len(maps), channel]
    return result


def draw(number: int, count: int = 6, share: float = 0.7) -> ChannelExchange:
    return ChannelExchange.draw(count, (8, 8, 4), share, stream(0, "exchange", number))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("level", [0, 1, 2])
@torch.no_grad()
def test_maps_are_exchanged_channel_by_channel(level: int) -> None:
    generator = Generator(5, 4, (3, 8, 8))
    z = torch.randn(6, 5, generator=stream(0, "z"))
    exchange = next(draw(n) for n in range(100) if draw(n).level == level)
    before = generator(z)
    with exchange.inside(generator):
        decoded = generator(z)
    torch.testing.assert_close(decoded, plain_exchange(generator, z, exchange))
    assert not torch.allclose(decoded, before)
    assert torch.equal(generator(z), before), "outside the block nothing is exchanged"


def test_draws_are_half_of_the_channels_of_another_image() -> None:
    draws = [draw(number) for number in range(200)]
    assert {each.level for each in draws} == {0, 1, 2}
    assert {each.shift for each in draws} == {1, 2, 3, 4, 5}
    for each in draws:
        assert each.taken.shape == (6, (8, 8, 4)[each.level])
        assert (each.taken.sum(1) == each.taken.shape[1] // 2).all()
    replaced = torch.stack([each.images for each in draws]).double().mean().item()
    assert replaced == pytest.approx(0.7, abs=0.05)
    taken = torch.stack([each.taken for each in draws if each.level < 2]).double().mean(0)
    assert taken.min() > 0.3
    assert taken.max() < 0.7


@pytest.mark.parametrize("method", SECTIONS)
def test_images_of_the_last_weights_replace_the_best_ones(method: str) -> None:
    """The others, the labels and what the generator learns are those of a batch without it."""
    section: Any = SECTIONS[method]
    plain = build_synthesizer(section, parts.task())
    ours: Any = build_synthesizer(
        section.model_copy(update={"channel_exchange": 0.6}), parts.task()
    )
    seen = []
    original = ours._exchanged

    def observed(images: Tensor, randomness: torch.Generator) -> Tensor:
        twin = randomness.clone_state()
        exchange = ChannelExchange.draw(len(images), ours.generator.widths, 0.6, twin)
        with torch.no_grad(), exchange.inside(ours.generator):
            seen.append((exchange, ours.images()))
        result: Tensor = original(images, randomness)
        return result

    ours._exchanged = observed
    (batch, update), (expected, learned) = ours.make(2), plain.make(2)
    ((exchange, decoded),) = seen
    assert 0 < exchange.images.sum() < len(exchange.images)
    for i, replaced in enumerate(exchange.images.tolist()):
        wanted = (decoded[i] * 255).round().to(torch.uint8) if replaced else expected.images[i]
        assert torch.equal(batch.images[i], wanted)
    assert torch.equal(batch.labels, expected.labels)
    assert batch.provenance.losses == expected.provenance.losses
    parts.assert_equal(update.tensors, learned.tensors)


@pytest.mark.parametrize("method", SECTIONS)
def test_a_batch_is_made_again_bit_for_bit(method: str) -> None:
    section: Any = SECTIONS[method].model_copy(update={"channel_exchange": 0.6})
    straight = build_synthesizer(section, parts.task())
    straight.synthesize(0)
    resumed = build_synthesizer(section, parts.task())
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    first, again = straight.synthesize(1), resumed.synthesize(1)
    assert torch.equal(first.images, again.images)
