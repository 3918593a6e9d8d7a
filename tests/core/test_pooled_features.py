"""What the features of a network are, plain, fused and without statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fastdfkd.core.fused_norm import fused
from fastdfkd.core.pooled_features import Kind, pooled, pooled_features
from fastdfkd.models import build_network

from . import naive_cmi, parts


def features(network: nn.Module, kind: Kind, images: torch.Tensor) -> torch.Tensor:
    found, count = pooled_features(network, kind, lambda: network(images[:1]))
    with found.watching():
        network(images)
    taken = found.taken()
    assert taken.shape == (len(images), count)
    return taken


@pytest.mark.parametrize("prepare", [lambda network: network, fused], ids=["plain", "fused"])
def test_norms_are_the_inputs_of_all_norms(prepare: object) -> None:
    teacher = parts.teacher().requires_grad_(False)
    images = torch.randn(5, *parts.IMAGE_SHAPE)
    found = features(prepare(teacher), "norms", images)  # type: ignore[operator]
    torch.testing.assert_close(found, naive_cmi.norm_inputs(teacher, images))


def test_stages_are_the_last_maps_of_each_size() -> None:
    network = build_network("resnet14", 10, 3).eval()
    ends: list[torch.Tensor] = []
    for stage in (network.layer1, network.layer2, network.layer3):  # type: ignore[union-attr]
        stage.register_forward_hook(lambda _m, _i, out: ends.append(out.mean((2, 3))))
    found = features(network, "stages", torch.randn(2, 3, 16, 16))
    # Each stage ends in a map; the last one is pooled before the last layer reads it.
    torch.testing.assert_close(found[:, : ends[-3].shape[1]], ends[-3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[:, -ends[-1].shape[1] :], ends[-1], rtol=1e-4, atol=1e-5)


def test_a_network_without_statistics_has_stages() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()
    images = torch.randn(2, 3, 8, 8)
    expected = torch.cat([network[:3](images).mean((2, 3)), network[:7](images)], 1)
    torch.testing.assert_close(features(network, "norms", images), expected)


def test_tokens_are_averaged() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 5), nn.Linear(5, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.first(images.flatten(2).transpose(1, 2)).relu()
            logits: torch.Tensor = self.last(tokens).mean(1)
            return logits

    network, images = Tokens(), torch.randn(2, 3, 4, 4)
    tokens = network.first(images.flatten(2).transpose(1, 2)).relu()
    torch.testing.assert_close(features(network, "stages", images), tokens.mean(1))


def test_a_network_that_shows_nothing_is_an_error() -> None:
    network = nn.Flatten()
    with pytest.raises(ValueError, match=r"no feature of the teacher can be seen.*synthesis\.cr"):
        pooled_features(network, "norms", lambda: network(torch.randn(1, 3, 4, 4)))


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 5, 6)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_means_and_their_gradient(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    if len(shape) == 4:
        x = x.contiguous(memory_format=layout)
    x.requires_grad_()
    expected = x.flatten(2).mean(2) if x.ndim > 2 else x
    torch.testing.assert_close(pooled(x), expected)
    assert torch.autograd.gradcheck(pooled, x)


def test_means_of_bfloat16_are_float32() -> None:
    x = torch.randn(3, 4, 8, 8).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    means = pooled(x)
    assert means.dtype is torch.float32
    torch.testing.assert_close(means, x.float().mean((2, 3)), rtol=1e-2, atol=1e-2)
