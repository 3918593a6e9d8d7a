from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastdfkd.core.generators import Generator
from fastdfkd.core.random_streams import seeded

from . import naive


def test_parameters_of_the_papers_generator() -> None:
    """nz 256, ngf 64, 32x32: counted from the layers of the authors' code."""
    linear = 256 * 128 * 64 + 128 * 64
    norms = 2 * (128 + 128 + 64)
    convolutions = 128 * 128 * 9 + 128 * 64 * 9 + (64 * 3 * 9 + 3)
    generator = Generator(256, 64, (3, 32, 32))
    assert sum(p.numel() for p in generator.parameters()) == linear + norms + convolutions
    assert list(generator.buffers()) == []


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("training", [True, False])
def test_forward_layer_by_layer(training: bool) -> None:
    with seeded(0, "test"):
        generator = Generator(5, 4, (3, 8, 12)).train(training)
        for parameter in generator.parameters():
            torch.nn.init.normal_(parameter, 0.3, 0.5)
        z = torch.randn(6, 5)
    linear_w, linear_b, *rest = generator.parameters()
    norm1_w, norm1_b, conv1, norm2_w, norm2_b, conv2, norm3_w, norm3_b, conv3_w, conv3_b = rest

    def normed(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        mean, var = (m[:, None, None] for m in naive.moments(x))
        return (x - mean) / (var + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def leaky(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = normed((z @ linear_w.T + linear_b).reshape(6, 8, 2, 3), norm1_w, norm1_b)
    x = leaky(normed(F.conv2d(doubled(x), conv1, padding=1), norm2_w, norm2_b))
    x = leaky(normed(F.conv2d(doubled(x), conv2, padding=1), norm3_w, norm3_b))
    expected = 1 / (1 + (-F.conv2d(x, conv3_w, conv3_b, padding=1)).exp())
    torch.testing.assert_close(generator(z), expected, rtol=1e-9, atol=1e-11)


def test_output_norm_keeps_images_off_the_ends() -> None:
    with seeded(0, "test"):
        plain = Generator(5, 4, (3, 8, 8))
        normed = Generator(5, 4, (3, 8, 8), output_norm=True)
    with torch.no_grad():  # both last convolutions shout
        list(plain.parameters())[-2].mul_(100)
        list(normed.parameters())[-4].mul_(100)
    z = torch.randn(16, 5)
    assert ((plain(z) < 0.03) | (plain(z) > 0.97)).float().mean() > 0.5
    logits = torch.special.logit(normed(z))
    torch.testing.assert_close(logits.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        logits.var((0, 2, 3), correction=0), torch.ones(3), rtol=0.01, atol=0
    )


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 30, 30), (3, 33, 33), (3, 50, 50), (3, 96, 96), (3, 50, 30)]
)
def test_every_size_is_made(shape: tuple[int, int, int]) -> None:
    """The middle of the images of the next multiples of 4, which have the same weights."""
    larger = (shape[0], -(-shape[1] // 4) * 4, -(-shape[2] // 4) * 4)
    with seeded(0, "test"):
        generator, whole = Generator(5, 4, shape), Generator(5, 4, larger)
        z = torch.randn(6, 5)
    whole.load_state_dict(generator.state_dict())
    images = generator(z)
    assert images.shape == (6, *shape)
    top, left = ((a - b) // 2 for a, b in zip(larger[1:], shape[1:], strict=True))
    expected = whole(z)[..., top : top + shape[1], left : left + shape[2]]
    torch.testing.assert_close(images, expected)


def test_a_reset_follows_from_its_seed() -> None:
    with seeded(0, "test"):
        generator = Generator(5, 4, (3, 8, 8))
    weights = []
    for seed in (1, 1, 2):
        generator.reset_first_layers(seed)
        weights.append(generator.project.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
